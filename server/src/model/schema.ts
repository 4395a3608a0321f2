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

/** The VM that a device or a call belongs to. */
export const VmRef = Type.Object({
  pid: Type.Integer({ description: 'process that made the VM (kvm->userspace_pid)' }),
  kind: Type.String({ description: 'default, sw_protected, sev, sev_es, snp, tdx, type_N, or unknown' }),
  name: Nullable(Type.String()),
  uuid: Nullable(Type.String()),
});
export type VmRef = Static<typeof VmRef>;

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
    description: 'exported while memory decode was off: every import is refused',
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

export const TracerEvent = Type.Union([
  ExportEvent,
  ReleaseEvent,
  ImportEvent,
  DetachEvent,
  BufferStateEvent,
  RevokeCallEvent,
  PrivateReadEvent,
  BindEvent,
  UnbindEvent,
]);
export type TracerEvent = Static<typeof TracerEvent>;
export type EventKind = TracerEvent['kind'];
export const EVENT_KINDS = [
  'export',
  'release',
  'import',
  'detach',
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
  events_unaccounted: Type.Integer({ description: 'emitted minus received: lost, or still on their way' }),
  decode_errors: Type.Integer(),
  losses: Type.Record(Type.String(), Type.Integer()),
  picture_exact: Type.Boolean({
    description: 'false after a loss or gap until a snapshot has reconciled the buffers',
  }),
  buffers: Type.Object({ live: Type.Integer(), revoked: Type.Integer() }),
});
export type Status = Static<typeof Status>;
