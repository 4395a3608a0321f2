import { Type } from 'typebox';
import { EventsAnswer } from '../../contract/answers.ts';
import { TracerError } from '../../lib/errors.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { EventFilter, eventMatcher, LOG_ID } from './query.ts';
import { REASONS_PATH } from './reasons.ts';
import { isWithin, TimeRangeQuery, timeRange, timeRangeAnswer } from './time-range.ts';

const EventsQuery = Type.Object(
  {
    ...EventFilter.properties,
    ...TimeRangeQuery.properties,
    after: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      default: 0,
      description:
        'the seq behind which to go on: `next` of the answer before, 0 for the oldest kept; without `log` not beyond ' +
        'the newest',
    }),
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100, description: '1 to 1000' }),
    log: Type.Optional(
      Type.String({
        pattern: LOG_ID,
        description: '`log` of the previous answer: a cursor from another log restarts at the oldest event',
      }),
    ),
  },
  { additionalProperties: false },
);

const LINKS = { reason: `${REASONS_PATH}/{reason}` };

export const eventsRoute: AppPlugin = (app, options, done) => {
  const log = options.events;
  app.get(
    '/api/v1/events',
    {
      schema: {
        tags: ['events'],
        summary: 'the event log, page by page',
        querystring: EventsQuery,
        response: { 200: EventsAnswer, ...errorResponses },
      },
    },
    (request) => {
      const { after, limit, log: id, since, until, ...filter } = request.query;
      const range = timeRange({ since, until }, options.model);
      if (id === undefined && after > log.newest) throw beyondTheNewest(after, log.newest);
      const reset = (id !== undefined && id !== log.id) || after > log.newest;
      const matches = eventMatcher(filter);
      const page = log.read(reset ? 0 : after, limit, (event) => isWithin(range, event) && matches(event));
      const answer = timeRangeAnswer(range, page.more, options);
      return { log: log.id, ...page, ...answer, reset, newest: log.newest, links: LINKS };
    },
  );
  done();
};

/**
 * Such a cursor comes from another log, before a restart. Without `log`, a silent reset to the oldest event would hide
 * that.
 */
function beyondTheNewest(after: number, newest: number): TracerError {
  return new TracerError('bad_request', `after cannot be ${after}: the newest event is ${newest}`, {
    where: 'query of /api/v1/events',
    remedy:
      'give the `log` of the answer with this cursor, so that a cursor from another log restarts at the oldest event; or give 0',
  });
}
