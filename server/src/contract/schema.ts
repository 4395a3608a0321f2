import { type Static, Type } from 'typebox';
import { CAUSES, PRIVACIES, READERS, REASONS, STAGES, VIOLATIONS } from '../protocol/codes.ts';
import { ChildReason, Dialect, Holder, ProbeState } from '../protocol/wire.ts';

/** Schemas of the data that the API shows. Times are ISO 8601 in UTC; `boot_us` is microseconds since boot. */

function Nullable<T extends Parameters<typeof Type.Union>[0][number]>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}
const DeviceAddress = Type.String({
  description: 'PCI address, e.g. 0000:41:00.0; unknown if the kernel no longer has it',
});
const Errno = Type.Integer({ minimum: 0, description: 'positive errno, 0 is success' });

const common = {
  seq: Type.Integer({ minimum: 1, description: 'position in this server’s log of events' }),
  time: Type.String(),
  boot_us: Type.Integer(),
  pid: Type.Integer(),
  comm: Type.String({ description: 'name of the task' }),
};

/** How the process of a VM was found. */
export const VM_BY = ['kvm', 'owner', 'holder', 'task'] as const;
export type VmBy = (typeof VM_BY)[number];

/** The VM of a device or a call; null in a field means unknown. docs/identity.md describes the source of each field. */
export const VmRef = Type.Object({
  pid: Type.Integer(),
  by: Type.Enum([...VM_BY], {
    description:
      'how the process was found. kvm: it created the VM (kvm->userspace_pid). owner: a known VMM that exported the ' +
      'buffer. holder: a known VMM that has the VFIO device open. Those two apply if the kernel links no VM, or if its ' +
      'pid belongs to another process. task: it made the call.',
  }),
  kind: Type.String({ description: 'default, sw_protected, sev, sev_es, snp, tdx, type_N, or unknown' }),
  vmm: Nullable(Type.String({ description: 'the VMM, such as qemu: docs/identity.md lists them' })),
  name: Nullable(Type.String()),
  uuid: Nullable(Type.String()),
  pod_uid: Nullable(Type.String({ description: 'UID of the Kubernetes pod of the VM' })),
  container_id: Nullable(Type.String()),
});
export type VmRef = Static<typeof VmRef>;

const ImporterInterface = Nullable(
  Type.String({ description: 'interface name of the importing PCI device, such as mlx5_0, card1, eth0' }),
);
const ByVm = Nullable(VmRef);

export const ExportEvent = Type.Object({
  ...common,
  kind: Type.Literal('export'),
  device: DeviceAddress,
  region: Type.Integer({ description: 'VFIO region index: the BAR number' }),
  ranges: Type.Integer(),
  bytes: Type.Integer(),
  inode: Type.Integer({ description: 'inode of the dma-buf; 0 if the export was rejected' }),
  privacy: Type.Enum([...PRIVACIES]),
  born_revoked: Type.Boolean({
    description: 'exported while memory decode was off: every import is rejected',
  }),
  vm: Nullable(VmRef),
  duration_ns: Type.Integer(),
  errno: Errno,
  reason: Type.Enum([...REASONS]),
});

export const ReleaseEvent = Type.Object({
  ...common,
  kind: Type.Literal('release'),
  device: DeviceAddress,
  inode: Type.Integer(),
});

export const ImportEvent = Type.Object({
  ...common,
  kind: Type.Literal('import'),
  stage: Type.Enum([...STAGES]),
  device: DeviceAddress,
  inode: Type.Integer(),
  importer: Type.String(),
  importer_device: Type.String(),
  importer_interface: ImporterInterface,
  by_vm: ByVm,
  privacy: Nullable(
    Type.Enum([...PRIVACIES], { description: 'of the buffer; null if the buffer is not known' }),
  ),
  duration_ns: Type.Integer(),
  errno: Errno,
  reason: Type.Enum([...REASONS]),
});

export const DetachEvent = Type.Object({
  ...common,
  kind: Type.Literal('detach'),
  device: DeviceAddress,
  inode: Type.Integer(),
  importer: Type.String(),
  importer_device: Type.String(),
});

export const UnmapEvent = Type.Object({
  ...common,
  kind: Type.Literal('unmap'),
  device: DeviceAddress,
  inode: Type.Integer(),
  importer: Type.String(),
  importer_device: Type.String(),
});

export const BufferStateEvent = Type.Object({
  ...common,
  kind: Type.Literal('buffer_state'),
  device: DeviceAddress,
  inode: Type.Integer(),
  revoked: Type.Boolean(),
  cause: Type.Enum([...CAUSES]),
  lost_mappings: Type.Integer({
    description: 'iommufd mappings of this buffer that were lost by this revocation',
  }),
});

export const RevokeCallEvent = Type.Object({
  ...common,
  kind: Type.Literal('revoke_call'),
  device: DeviceAddress,
  revoked: Type.Boolean(),
  cause: Type.Enum([...CAUSES]),
  buffers: Type.Integer(),
  duration_ns: Type.Integer(),
});

export const PrivateReadEvent = Type.Object({
  ...common,
  kind: Type.Literal('private_read'),
  reader: Type.Enum([...READERS]),
  device: DeviceAddress,
  inode: Type.Integer(),
  errno: Errno,
  reason: Type.Enum([...REASONS]),
  privacy: Type.Enum([...PRIVACIES]),
  owner_vm: Nullable(VmRef),
});

export const BindEvent = Type.Object({
  ...common,
  kind: Type.Literal('bind'),
  device: DeviceAddress,
  inode: Type.Integer(),
  errno: Errno,
  reason: Type.Enum([...REASONS]),
  violation: Type.Enum([...VIOLATIONS]),
  vm: Nullable(VmRef),
  owner_vm: Nullable(VmRef),
  slot_bytes: Type.Integer(),
  buffer_bytes: Type.Integer(),
  privacy: Type.Enum([...PRIVACIES]),
  duration_ns: Type.Integer(),
});

export const UnbindEvent = Type.Object({
  ...common,
  kind: Type.Literal('unbind'),
  device: DeviceAddress,
  inode: Type.Integer(),
  vm: Nullable(VmRef),
});

/** Kinds of incidents. docs/incidents.md describes each. */
export const INCIDENT_KINDS = [
  'revoke_waiting',
  'mappings_lost',
  'orphaned',
  'born_revoked',
  'never_imported',
  'private_without_vm',
  'private_offered',
  'foreign_vm',
  'accepted_not_vfio',
  'confidential_shared',
] as const;
export type IncidentKind = (typeof INCIDENT_KINDS)[number];

/** What closed an incident: an event, or evidence that this event was missed (next_call, snapshot). */
export const CLOSINGS = [
  'revoke_ended',
  'mapped_again',
  'restored',
  'imported',
  'released',
  'unbound',
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

/** An incident has opened or closed. The time is that of the change, not of the line that revealed it. */
export const IncidentEvent = Type.Object({
  seq: common.seq,
  time: common.time,
  boot_us: common.boot_us,
  kind: Type.Literal('incident'),
  change: Type.Enum(['opened', 'closed']),
  device: DeviceAddress,
  incident: Incident,
});

export const TracerEvent = Type.Union([
  ExportEvent,
  ReleaseEvent,
  ImportEvent,
  DetachEvent,
  UnmapEvent,
  BufferStateEvent,
  RevokeCallEvent,
  PrivateReadEvent,
  BindEvent,
  UnbindEvent,
  IncidentEvent,
]);
export type TracerEvent = Static<typeof TracerEvent>;
/** An event that a probe reported. Incident events come from the model instead. */
export type KernelEvent = Exclude<TracerEvent, { kind: 'incident' }>;
export type EventKind = KernelEvent['kind'];
export const EVENT_KINDS = [
  'export',
  'release',
  'import',
  'detach',
  'unmap',
  'buffer_state',
  'revoke_call',
  'private_read',
  'bind',
  'unbind',
] as const satisfies readonly EventKind[];

/** The attachments of one importer to one buffer. */
export const Attachment = Type.Object({
  importer: Type.String(),
  importer_device: Type.String(),
  count: Type.Integer({ minimum: 1 }),
  mapped: Type.Boolean({
    description: 'whether this importer has a mapping that was not lost',
  }),
  since: Type.String(),
  importer_interface: ImporterInterface,
  task: Nullable(
    Type.Object(
      { pid: Type.Integer(), comm: Type.String() },
      { description: 'the task of the last import call; null if no call was traced' },
    ),
  ),
  by_vm: ByVm,
});

/**
 * A VFIO dma-buf. `live`: may be mapped. `revoked`: may not be mapped now. `released`: no longer exists; the last ones
 * are kept.
 */
export const BufferView = Type.Object({
  inode: Type.Integer(),
  state: Type.Enum(['live', 'revoked', 'released']),
  device: DeviceAddress,
  region: Nullable(Type.Integer()),
  ranges: Type.Integer(),
  bytes: Type.Integer(),
  privacy: Type.Enum([...PRIVACIES]),
  born_revoked: Type.Boolean(),
  preexisting: Type.Boolean({
    description: 'its export was not traced, for example because a snapshot found it',
  }),
  owner: Nullable(
    Type.Object({
      pid: Type.Integer(),
      comm: Type.String(),
      gone: Type.Boolean({ description: 'the exporting process has ended' }),
    }),
  ),
  vm: Nullable(VmRef),
  exported_at: Nullable(Type.String()),
  changed_at: Type.String(),
  revoke_cause: Nullable(Type.Enum([...CAUSES])),
  lost_mappings: Type.Integer({
    description:
      'iommufd mappings that were removed by a revocation and not remapped. Each new iommufd map of the buffer reduces the ' +
      'number by one, its release sets it to 0, a detach does not change it.',
  }),
  attachments: Type.Array(Attachment),
  attachment_count: Type.Integer({
    description: 'attachments that the kernel counted at the last snapshot, updated by later events',
  }),
  holders: Type.Array(Holder),
  holders_at: Nullable(Type.String({ description: 'when the holders were last read from /proc' })),
});
export type BufferView = Static<typeof BufferView>;

/**
 * State of the collection. tracing: counters are read. blind: the child ended or is restarting. unavailable: no child
 * can run.
 */
export const CollectionState = Type.Enum(['waiting', 'starting', 'tracing', 'blind', 'unavailable']);

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
