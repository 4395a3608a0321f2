import { Type } from 'typebox';
import { Attachment, BufferView } from './buffers.ts';
import { BindEvent, ExportEvent, ImportEvent, TracerEvent } from './events.ts';
import { HistorySample } from './history.ts';
import { BlindTo, INCIDENT_KINDS, Incident } from './incidents.ts';
import { Status } from './status.ts';

/** Schemas of the answers of the API, one for each route that answers with JSON. */

export const StatusAnswer = Type.Object({
  ...Status.properties,
  not_ready: Type.Union([Type.String(), Type.Null()], { description: 'why /-/ready answers 503, or null' }),
});

export const ProbesAnswer = Type.Pick(Status, [
  'kernel',
  'bpftrace',
  'dialect',
  'state',
  'generation',
  'probes',
]);

export const BuffersAnswer = Type.Object({
  total: Type.Integer({ description: 'number of matching buffers, including those beyond the limit' }),
  buffers: Type.Array(BufferView),
});

const { device, inode, region, privacy, vm } = BufferView.properties;

const ImportView = Type.Object({
  ...Attachment.properties,
  device,
  region,
  inode,
  state: Type.Enum(['live', 'revoked']),
  privacy,
  vm,
});

export const ImportsAnswer = Type.Object({
  total: Type.Integer({ description: 'number of matching imports, including those beyond the limit' }),
  unnamed: Type.Integer({
    description:
      'number of attachments of the device whose importer is unknown: only a snapshot counted them',
  }),
  imports: Type.Array(ImportView),
});

export const IncidentsAnswer = Type.Object({
  total: Type.Integer({ description: 'number of matching incidents, including those beyond the limit' }),
  open: Type.Integer({ description: 'number of open incidents among them' }),
  not_detected: Type.Array(Type.Enum([...INCIDENT_KINDS]), {
    description: 'kinds whose probes were never attached: the number of such incidents is unknown',
  }),
  not_applicable: Type.Array(Type.Enum([...INCIDENT_KINDS]), {
    description: 'kinds that this kernel cannot have',
  }),
  blind_to: Type.Array(BlindTo, {
    description:
      'kinds that are critical or about private memory, that this kernel can have, and that cannot be detected now. ' +
      'Unless this list is empty, no open incidents does not mean that this host is safe.',
  }),
  folded: Type.Integer({
    description:
      'number of incidents, of all kinds, that were not opened because their kind was at its limit',
  }),
  incidents: Type.Array(Incident, {
    description:
      'open ones first, by severity (critical first) and then newest first; then closed ones, newest first',
  }),
  kinds: Type.Record(
    Type.String(),
    Type.Object({
      opens: Type.String(),
      closes: Type.String(),
      remedy: Type.String(),
      runbook: Type.String({ description: 'name of the runbook, served at /runbooks/NAME' }),
    }),
    { description: 'for each kind in this answer: what it means and what to do' },
  ),
});

/** Why events may be missing in an answer. */
export const INCOMPLETE = ['limit', 'evicted', 'lost', 'blind'] as const;

export const TimeRangeAnswer = Type.Object({
  since: Type.Union([Type.String(), Type.Null()], { description: 'as a time; null without `since`' }),
  until: Type.Union([Type.String(), Type.Null()], { description: 'as a time; null without `until`' }),
  oldest: Type.Integer({ description: 'seq of the oldest event in the log' }),
  oldest_time: Type.Union([Type.String(), Type.Null()], {
    description: 'time of the oldest event in the log; null if the log is empty',
  }),
  incomplete: Type.Array(Type.Enum([...INCOMPLETE]), {
    description:
      'why events of this range may be missing here; empty if none is. limit: there are more than `limit`. evicted: the ' +
      'log had no room for older ones. lost: events were lost since the start, see `losses` of /api/v1/status. blind: ' +
      'nothing was traced for some time since the start',
  }),
});

export const EventsAnswer = Type.Object({
  log: Type.String({ description: 'name of this log; another one after a restart' }),
  events: Type.Array(TracerEvent),
  next: Type.Integer({ description: 'give it back as `after` to go on' }),
  more: Type.Boolean({ description: 'there is more behind `next` now' }),
  dropped: Type.Integer({
    description: 'events behind `after` that had left the log, whether they would have matched or not',
  }),
  reset: Type.Boolean({
    description: 'the cursor was of another log: this answer begins with the oldest kept',
  }),
  newest: Type.Integer({ description: 'seq of the newest event' }),
  ...TimeRangeAnswer.properties,
  links: Type.Object({
    reason: Type.String({ description: 'what the reason of a rejected event means: a URI template' }),
  }),
});

const Reason = Type.String({ description: 'explained by /api/v1/reasons' });
const Device = Type.String({
  description:
    'the exporting device; unknown where it was closed before, or where VFIO did not export the buffer',
});
const common = { reason: Reason, errno: Type.String(), count: Type.Integer() };

export const RejectionsAnswer = Type.Object({
  rejections: Type.Array(Type.Union([ExportEvent, ImportEvent, BindEvent]), {
    description:
      'rejections in the event log, the newest first. `incomplete` says whether some may be missing',
  }),
  ...TimeRangeAnswer.properties,
  counts: Type.Object(
    {
      imports: Type.Union([
        Type.Array(
          Type.Object({
            device: Device,
            privacy: Type.String({ description: 'of the buffer: private, shared or undeclared' }),
            importer: Type.String(),
            stage: Type.String(),
            ...common,
          }),
        ),
        Type.Null(),
      ]),
      exports: Type.Union([Type.Array(Type.Object({ device: Device, ...common })), Type.Null()]),
    },
    {
      description:
        'all rejections since the start, whatever `since` and `until` are, as counted in the kernel, the largest first; ' +
        'null if the query excludes them: exports have no importer and no stage of an import',
    },
  ),
});

export const HistoryAnswer = Type.Object({
  samples: Type.Array(HistorySample, {
    description:
      'the last half hour of the stream, the oldest first. Each sample covers the time since the previous one: 1 s at first, ' +
      'and up to 8 s as the history fills. There are no samples while the counters are not read.',
  }),
});
