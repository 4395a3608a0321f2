import { type Static, Type } from 'typebox';
import { Holder } from '../protocol/wire.ts';
import { DeviceAddress, Nullable, VmRef } from './fields.ts';

/** Kinds of incidents. docs/incidents.md describes each. */
export const INCIDENT_KINDS = [
  'revoke_waiting',
  'mappings_lost',
  'orphaned',
  'late_release',
  'born_revoked',
  'never_imported',
  'bar_mapped_by_address',
  'private_without_vm',
  'private_offered',
  'foreign_vm',
  'accepted_not_vfio',
  'confidential_shared',
  'fault_rejected',
] as const;
export type IncidentKind = (typeof INCIDENT_KINDS)[number];

/** What closed an incident: an event, or evidence that this event was missed (next_call, snapshot). */
export const CLOSINGS = [
  'revoke_ended',
  'mapped_again',
  'mapped_as_dmabuf',
  'restored',
  'imported',
  'released',
  'unbound',
  'fault_resolved',
  'vm_gone',
  'next_call',
  'snapshot',
] as const;
export type Closing = (typeof CLOSINGS)[number];

/** A problem that lasts while the incident is open. */
export const Incident = Type.Object({
  id: Type.Integer({
    minimum: 1,
    description: 'increases in the order of opening; starts at 1 with the server',
  }),
  kind: Type.Enum([...INCIDENT_KINDS]),
  severity: Type.Enum(['info', 'warning', 'critical']),
  state: Type.Enum(['open', 'closed']),
  sentence: Type.String({ description: 'what is wrong, with the names involved' }),
  device: DeviceAddress,
  inode: Nullable(
    Type.Integer({ description: 'the dma-buf; null if the incident is about the whole device' }),
  ),
  vm: Nullable(VmRef),
  importers: Type.Array(
    Type.Object({ importer: Type.String(), importer_device: Type.String(), inode: Type.Integer() }),
    {
      description:
        'importers that attached. For revoke_waiting: importers that still have mappings, or had them until it closed. ' +
        'Only the first 64; the sentence has the number of further ones.',
    },
  ),
  holders: Type.Array(Holder, {
    description: 'for orphaned: processes that had a descriptor at the last snapshot; only the first 64',
  }),
  count: Type.Integer({
    minimum: 1,
    description: 'number of occurrences; for mappings_lost, number of lost mappings',
  }),
  since: Type.String({ description: 'when it began' }),
  opened_at: Type.String({ description: 'when it had lasted long enough to be reported' }),
  closed_at: Nullable(Type.String()),
  closed_by: Nullable(Type.Enum([...CLOSINGS])),
  waited_seconds: Nullable(
    Type.Number({ description: 'for revoke_waiting: duration of the call, if its end was traced' }),
  ),
  exact: Type.Boolean({
    description: 'false: events were lost since it began, so it may be over, or its times may be wrong',
  }),
});
export type Incident = Static<typeof Incident>;

/** A kind that cannot be detected, because not all of its probes are attached now. */
export const BlindTo = Type.Object({
  kind: Type.Enum([...INCIDENT_KINDS]),
  probes: Type.Array(Type.String(), { description: 'the probes that are not attached' }),
});
export type BlindTo = Static<typeof BlindTo>;
