import { Type } from 'typebox';
import { RejectionsAnswer } from '../../contract/answers.ts';
import { isRejection, type Rejection } from '../../contract/rejection.ts';
import { canonicalDevice } from '../../lib/device-address.ts';
import type { Labels } from '../../model/series-set.ts';
import { REASONS, STAGES } from '../../protocol/codes.ts';
import type { CounterName } from '../../protocol/declared.ts';
import type { TracerModel } from '../../tracer/tracer.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { DeviceQuery, ImporterQuery } from './query.ts';
import { isWithin, TimeRangeQuery, timeRange, timeRangeAnswer } from './time-range.ts';

const EXPORT = 'export';

const RejectionsQuery = Type.Object(
  {
    importer: Type.Optional(ImporterQuery),
    stage: Type.Optional(
      Type.Enum([EXPORT, ...STAGES], { description: 'export, or the stage of an import' }),
    ),
    reason: Type.Optional(Type.Enum([...REASONS])),
    device: Type.Optional(DeviceQuery),
    ...TimeRangeQuery.properties,
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100, description: '1 to 1000' }),
  },
  { additionalProperties: false },
);

function stageOf(event: Rejection): string {
  return event.kind === 'import' ? event.stage : event.kind;
}
function importerOf(event: Rejection): string | null {
  if (event.kind === 'import') return event.importer;
  return event.kind === 'bind' ? 'kvm' : null;
}

/** The rejections, with their reason and importer. */
export const rejectionsRoute: AppPlugin = (app, options, done) => {
  const { model, events } = options;
  app.get(
    '/api/v1/rejections',
    {
      schema: {
        tags: ['events'],
        summary: 'rejected exports and imports, and how many of each kind',
        querystring: RejectionsQuery,
        response: { 200: RejectionsAnswer, ...errorResponses },
      },
    },
    (request) => {
      const { importer, stage, reason, limit } = request.query;
      const range = timeRange(request.query, model);
      const device = request.query.device === undefined ? undefined : canonicalDevice(request.query.device);
      const rejections = events.latest(
        limit + 1,
        (event) =>
          isRejection(event) &&
          (importer === undefined || importerOf(event) === importer) &&
          (stage === undefined || stageOf(event) === stage) &&
          (reason === undefined || event.reason === reason) &&
          (device === undefined || event.device === device) &&
          isWithin(range, event),
      );
      const ofImports = stage !== EXPORT;
      const ofExports = importer === undefined && (stage === undefined || stage === EXPORT);
      return {
        rejections: rejections.filter(isRejection).slice(0, limit),
        ...timeRangeAnswer(range, rejections.length > limit, options),
        counts: {
          imports: ofImports
            ? counted(model, 'import_rejections', { device, importer, stage, reason }, importCount)
            : null,
          exports: ofExports ? counted(model, 'export_rejections', { device, reason }, exportCount) : null,
        },
      };
    },
  );
  done();
};

/** The series of a counter that match these labels, the largest first. */
function counted<T extends { count: number }>(
  model: TracerModel,
  counter: CounterName,
  wanted: Readonly<Record<string, string | undefined>>,
  row: (labels: Labels, count: number) => T,
): T[] {
  return model.counters
    .counter(counter)
    .filter(({ labels }) =>
      Object.entries(wanted).every(([name, value]) => value === undefined || labels[name] === value),
    )
    .map(({ labels, value }) => row(labels, value))
    .sort((a, b) => b.count - a.count);
}

function importCount(
  { device = '', privacy = '', importer = '', stage = '', reason = '', errno = '' }: Labels,
  count: number,
) {
  return { device, privacy, importer, stage, reason, errno, count };
}
function exportCount({ device = '', reason = '', errno = '' }: Labels, count: number) {
  return {
    device,
    reason,
    errno,
    count,
  };
}
