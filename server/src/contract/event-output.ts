import { type Static, Type } from 'typebox';
import { ALL_KINDS, RESULTS, TracerEvent } from './events.ts';

/** The lines of `events.output`. docs/event-output.md describes them for consumers. */

const log = Type.String({ description: 'name of the event log; another one after a restart' });
const seq = Type.Integer({ minimum: 1 });

export const EventLine = Type.Intersect([Type.Object({ log }), TracerEvent]);

/** The first line of each run. An empty list means that all pass. */
export const StartLine = Type.Object({
  log,
  time: Type.String(),
  kind: Type.Literal('start'),
  version: Type.String(),
  kinds: Type.Array(Type.Enum([...ALL_KINDS])),
  results: Type.Array(Type.Enum([...RESULTS])),
  devices: Type.Array(Type.String()),
});
export type StartLine = Static<typeof StartLine>;

/** In the place of events that were dropped, because the output was too slow or could not be written. */
export const DroppedLine = Type.Object({
  log,
  time: Type.String({ description: 'time of the last dropped event' }),
  kind: Type.Literal('dropped'),
  from_seq: Type.Integer({ ...seq, description: 'seq of the first dropped event' }),
  to_seq: Type.Integer({ ...seq, description: 'seq of the last dropped event' }),
  count: Type.Integer({
    minimum: 1,
    description: 'dropped events; events that the filters leave out do not count',
  }),
});
export type DroppedLine = Static<typeof DroppedLine>;
