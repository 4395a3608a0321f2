import { Type } from 'typebox';
import { TracerError } from '../../lib/errors.ts';
import { errorResponses, quoted } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { EventFilter, eventMatcher, plainText } from './query.ts';

const LastEventId = Type.String({
  description: 'the id of the last event that the client read; the stream continues after it',
});

/**
 * Server-sent events. The id of each is LOG.SEQ, so that a client that reconnects continues after the last one it read.
 */
export const streamRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/stream',
    {
      exposeHeadRoute: false,
      schema: {
        tags: ['events'],
        summary: 'new events as they occur, as server-sent events',
        querystring: EventFilter,
        headers: Type.Object({ 'last-event-id': Type.Optional(LastEventId) }),
        response: {
          200: plainText(
            'Each has an `event` (the kind), an `id` (LOG.SEQ) and as `data` one line of JSON: an event as in ' +
              '/api/v1/events. `dropped` reports how many events left the log before they could be sent. `reset` ' +
              'reports that the Last-Event-ID was from another log.',
            ['text/event-stream'],
          ),
          ...errorResponses,
        },
      },
    },
    (request, reply) => {
      if (options.hub.full) {
        options.hub.rejected += 1;
        reply.header('retry-after', '10').code(503);
        return reply.send({
          error: {
            code: 'too_many_clients',
            message: `${options.hub.clients} clients are reading the stream: the limit is reached`,
            where: null,
            hint: 'try again later, or poll /api/v1/events',
          },
        });
      }
      const resume = request.headers['last-event-id'];
      const position = resume === undefined || resume === '' ? undefined : parseEventId(String(resume));
      reply.hijack();
      const headers = reply.getHeaders();
      for (const [name, value] of Object.entries(headers)) {
        if (value !== undefined) reply.raw.setHeader(name, value);
      }
      options.hub.attach(reply.raw, { matches: eventMatcher(request.query), position });
      return reply;
    },
  );
  app.addHook('preClose', (closed) => {
    options.hub.close();
    closed();
  });
  done();
};

function parseEventId(id: string): { log: string; seq: number } {
  const match = /^([0-9a-z]+)\.(\d{1,15})$/.exec(id);
  if (match === null) {
    throw new TracerError('bad_request', `Last-Event-ID cannot be ${quoted(JSON.stringify(id))}`, {
      where: 'header Last-Event-ID',
      remedy: 'send the id of the last event unchanged, or leave the header out',
    });
  }
  return { log: match[1] ?? '', seq: Number(match[2]) };
}
