import { type Static, Type } from 'typebox';
import { ChildReason, Dialect, ProbeState } from '../protocol/wire.ts';
import { Nullable } from './fields.ts';

/**
 * State of the collection. tracing: counters are read. blind: the child ended or is restarting. unavailable: no child
 * can run.
 */
const CollectionState = Type.Enum(['waiting', 'starting', 'tracing', 'blind', 'unavailable']);

export const Status = Type.Object({
  version: Type.String(),
  source: Type.Object({ kind: Type.Enum(['live', 'replay']), name: Type.String() }),
  simulation: Nullable(
    Type.String({ description: 'faults that the collector simulates (--simulate): some data is simulated' }),
  ),
  now: Type.String({ description: 'time of the last line of the stream' }),
  kernel: Nullable(Type.String()),
  bpftrace: Nullable(Type.String()),
  dialect: Dialect,
  state: CollectionState,
  problem: Nullable(
    Type.Object({ reason: ChildReason, message: Type.String(), remedy: Nullable(Type.String()) }),
  ),
  generation: Type.Integer({ description: 'number of bpftrace children started' }),
  restarts: Type.Integer(),
  probes: Type.Array(ProbeState),
  last_counter_read: Nullable(Type.String()),
  blind_seconds: Type.Number(),
  events_received: Type.Integer(),
  events_emitted: Type.Integer({
    description: 'events that the probes printed up to the last heartbeat, over all children',
  }),
  events_unaccounted: Type.Integer({
    description:
      'events emitted up to the last heartbeat that were neither received nor counted as lost in `losses`',
  }),
  decode_errors: Type.Integer(),
  losses: Type.Record(Type.String(), Type.Integer(), {
    description: 'by stage; docs/accounting.md describes the stages',
  }),
  counters_exact: Type.Boolean({
    description: 'false: some calls were not counted, so each counter is a lower bound',
  }),
  missed_returns: Type.Integer({
    description: 'calls whose return was missed: they are in no other counter and have no event',
  }),
  buffer_state_exact: Type.Boolean({
    description: 'false after a loss or gap until a snapshot has reconciled the buffers',
  }),
  buffers: Type.Object({ live: Type.Integer(), revoked: Type.Integer() }),
  open_incidents: Type.Record(Type.String(), Type.Integer(), {
    description: 'by kind; a kind whose probes are not attached is left out',
  }),
});
export type Status = Static<typeof Status>;
