import { type Static, Type } from 'typebox';
import { CAUSES, PRIVACIES, READERS, REASONS, STAGES, VIOLATIONS } from '../stream/codes.ts';
import { ChildReason, Dialect, Holder, ProbeState } from '../stream/wire.ts';

/** What the model knows and the API shows. Times are ISO 8601 in UTC; `boot_us` is microseconds since boot. */

const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);
const DeviceAddress = Type.String({
  description: 'PCI address, e.g. 0000:41:00.0; unknown where the kernel no longer knows',
});
const Errno = Type.Integer({ minimum: 0, description: 'positive errno, 0 is success' });

const common = {
  seq: Type.Integer({ minimum: 1, description: 'position in this server’s log of events' }),
  time: Type.String(),
  boot_us: Type.Integer(),
  pid: Type.Integer(),
  comm: Type.String({ description: 'name of the task' }),
};

/** How a process was found to be the VM's. */
export const VM_BY = ['kvm', 'owner', 'holder', 'task'] as const;
export type VmBy = (typeof VM_BY)[number];

/** The VM that a device or a call belongs to; null in a field is unknown. docs/identity.md says what gives what. */
export const VmRef = Type.Object({
  pid: Type.Integer(),
  by: Type.Enum([...VM_BY], {
    description:
      'kvm: it made the VM (kvm->userspace_pid); where the kernel links none, or one whose number is not its own, a known VMM ' +
      'that owner: exported, holder: has the VFIO device open; task: it made the call',
  }),
  kind: Type.String({ description: 'default, sw_protected, sev, sev_es, snp, tdx, type_N, or unknown' }),
  vmm: Nullable(Type.String({ description: 'qemu, ...: docs/identity.md lists them' })),
  name: Nullable(Type.String()),
  uuid: Nullable(Type.String()),
  pod_uid: Nullable(Type.String({ description: 'UID of the Kubernetes pod that it runs in' })),
  container_id: Nullable(Type.String()),
});
export type VmRef = Static<typeof VmRef>;

const ImporterInterface = Nullable(
  Type.String({ description: 'what people call a PCI device that imports: mlx5_0, card1, eth0' }),
);
const ByVm = Nullable(VmRef);

export const ExportEvent = Type.Object({
  ...common,
  kind: Type.Literal('export'),
  device: DeviceAddress,
  region: Type.Integer({ description: 'VFIO region index: the BAR number' }),
  ranges: Type.Integer(),
  bytes: Type.Integer(),
  inode: Type.Integer({ description: 'inode of the dma-buf, 0 where the export failed' }),
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
    description: 'iommufd mappings of this buffer that this revocation made dead',
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

/** What can be wrong; each is described in docs/incidents.md. */
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

/** What ended an incident: an event, or what shows that its event was not seen (next_call, snapshot). */
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

/** Something that is wrong for as long as it is open. */
export const Incident = Type.Object({
  id: Type.Integer({ minimum: 1, description: 'in the order of opening since this server began' }),
  kind: Type.Enum([...INCIDENT_KINDS]),
  severity: Type.Enum(['info', 'warning', 'critical']),
  state: Type.Enum(['open', 'closed']),
  sentence: Type.String({ description: 'what is wrong, with whom' }),
  device: DeviceAddress,
  inode: Nullable(Type.Integer({ description: 'the dma-buf; null where it is the device as a whole' })),
  vm: Nullable(VmRef),
  importers: Type.Array(
    Type.Object({ importer: Type.String(), importer_device: Type.String(), inode: Type.Integer() }),
    {
      description:
        'who attached; of revoke_waiting, who still has mappings, and once closed, who had; the first 64, the sentence says ' +
        'how many more there are',
    },
  ),
  holders: Type.Array(Holder, {
    description: 'of orphaned: processes with a descriptor, at the last snapshot; the first 64',
  }),
  count: Type.Integer({
    minimum: 1,
    description: 'how often it was seen; of mappings_lost, how many are lost',
  }),
  since: Type.String({ description: 'when it began' }),
  opened_at: Type.String({ description: 'when it had lasted long enough to be reported' }),
  closed_at: Nullable(Type.String()),
  closed_by: Nullable(Type.Enum([...CLOSINGS])),
  waited_seconds: Nullable(
    Type.Number({ description: 'of revoke_waiting: what the call took, where its end was seen' }),
  ),
  exact: Type.Boolean({
    description: 'false: events were lost since it began, so it may be over, or be off in its times',
  }),
});
export type Incident = Static<typeof Incident>;

/** A kind of which the probes that are attached now cannot tell. */
export const BlindTo = Type.Object({
  kind: Type.Enum([...INCIDENT_KINDS]),
  probes: Type.Array(Type.String(), { description: 'what is not attached' }),
});
export type BlindTo = Static<typeof BlindTo>;

/** An incident has opened or closed. Its time is that of the incident, not of the line that told. */
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
/** What the kernel has told of; an incident is what the model makes of it. */
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

/** One importer's hold on one buffer. */
export const Attachment = Type.Object({
  importer: Type.String(),
  importer_device: Type.String(),
  count: Type.Integer({ minimum: 1 }),
  mapped: Type.Boolean({
    description: 'a map or iommufd map of this importer succeeded and was not lost since',
  }),
  since: Type.String(),
  importer_interface: ImporterInterface,
  task: Nullable(
    Type.Object(
      { pid: Type.Integer(), comm: Type.String() },
      { description: 'whose call it was, the last one; null where it was not seen' },
    ),
  ),
  by_vm: ByVm,
});

/** A VFIO dma-buf. `live` may be mapped, `revoked` may not be mapped now, `released` is gone (kept for a while). */
export const BufferView = Type.Object({
  inode: Type.Integer(),
  state: Type.Enum(['live', 'revoked', 'released']),
  device: DeviceAddress,
  region: Nullable(Type.Integer()),
  ranges: Type.Integer(),
  bytes: Type.Integer(),
  privacy: Type.Enum([...PRIVACIES]),
  born_revoked: Type.Boolean(),
  preexisting: Type.Boolean({ description: 'found by a snapshot, its export was not seen' }),
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
      'iommufd mappings dead since a revocation: each new iommufd map of the buffer closes one, its release all, a detach none',
  }),
  attachments: Type.Array(Attachment),
  attachment_count: Type.Integer({
    description: 'attachments the kernel counted at the last snapshot, plus events since',
  }),
  holders: Type.Array(Holder),
  holders_at: Nullable(Type.String({ description: 'when /proc was last asked who holds it' })),
});
export type BufferView = Static<typeof BufferView>;

/** State of the collection. tracing: counters are read; blind: a child ended or is starting; unavailable: none can run. */
export const CollectionState = Type.Enum(['waiting', 'starting', 'tracing', 'blind', 'unavailable']);

export const Status = Type.Object({
  version: Type.String(),
  source: Type.Object({ kind: Type.Enum(['live', 'replay']), name: Type.String() }),
  simulation: Nullable(
    Type.String({ description: 'faults that the collector makes itself (--simulate): not all here is real' }),
  ),
  now: Type.String({ description: 'the time of the last line of the stream' }),
  kernel: Nullable(Type.String()),
  bpftrace: Nullable(Type.String()),
  dialect: Dialect,
  state: CollectionState,
  problem: Nullable(
    Type.Object({ reason: ChildReason, message: Type.String(), remedy: Nullable(Type.String()) }),
  ),
  generation: Type.Integer({ description: 'how many bpftrace children have been started' }),
  restarts: Type.Integer(),
  probes: Type.Array(ProbeState),
  last_counter_read: Nullable(Type.String()),
  blind_seconds: Type.Number(),
  events_received: Type.Integer(),
  events_emitted: Type.Integer({
    description: 'events the probes printed, over all children, as of the last heartbeat',
  }),
  events_unaccounted: Type.Integer({
    description: 'emitted before the last heartbeat, and neither received nor counted as lost in `losses`',
  }),
  decode_errors: Type.Integer(),
  losses: Type.Record(Type.String(), Type.Integer(), { description: 'by stage: docs/accounting.md' }),
  counters_exact: Type.Boolean({
    description: 'false: calls were not counted, and each counter is a lower bound',
  }),
  missed_returns: Type.Integer({
    description: 'calls whose return was not seen: they are in no other counter and gave no event',
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
