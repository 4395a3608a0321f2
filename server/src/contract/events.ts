import { type Static, Type } from 'typebox';
import { CAUSES, PRIVACIES, READERS, REASONS, STAGES, VIOLATIONS } from '../protocol/codes.ts';
import { ByVm, DeviceAddress, Errno, ImporterInterface, MappingRoute, Nullable, VmRef } from './fields.ts';
import { Incident } from './incidents.ts';

/** The events of the tracer. `boot_us` is microseconds since boot. */

const common = {
  seq: Type.Integer({ minimum: 1, description: 'position in this server’s log of events' }),
  time: Type.String(),
  boot_us: Type.Integer(),
  pid: Type.Integer(),
  comm: Type.String({ description: 'name of the task' }),
};

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

export const LateReleaseEvent = Type.Object({
  ...common,
  kind: Type.Literal('late_release'),
  device: DeviceAddress,
  inode: Type.Integer(),
  done: Type.Boolean({
    description:
      'false: the file was released, but a descriptor with O_PATH keeps the buffer from VFIO’s release',
  }),
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
  route: MappingRoute,
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

export const ZapEvent = Type.Object({
  ...common,
  kind: Type.Literal('zap'),
  device: DeviceAddress,
  inode: Type.Integer(),
  revoked: Type.Boolean({ description: 'false: at a restore, when the guest has no pages of the buffer' }),
  cause: Type.Enum([...CAUSES]),
  vm: Nullable(VmRef),
  duration_ns: Type.Integer(),
});

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
  LateReleaseEvent,
  ImportEvent,
  DetachEvent,
  UnmapEvent,
  BufferStateEvent,
  RevokeCallEvent,
  PrivateReadEvent,
  BindEvent,
  UnbindEvent,
  ZapEvent,
  IncidentEvent,
]);
export type TracerEvent = Static<typeof TracerEvent>;
/** An event that a probe reported. Incident events come from the model instead. */
export type KernelEvent = Exclude<TracerEvent, { kind: 'incident' }>;
export type EventKind = KernelEvent['kind'];
export const EVENT_KINDS = [
  'export',
  'release',
  'late_release',
  'import',
  'detach',
  'unmap',
  'buffer_state',
  'revoke_call',
  'private_read',
  'bind',
  'unbind',
  'zap',
] as const satisfies readonly EventKind[];

/** The kinds of all events. */
export const ALL_KINDS = [...EVENT_KINDS, 'incident'] as const satisfies readonly TracerEvent['kind'][];

/** Results of a call. */
export const RESULTS = ['ok', 'failed'] as const;
export type Result = (typeof RESULTS)[number];

/** The result of the call; undefined for an event without an errno. */
export function resultOf(event: TracerEvent): Result | undefined {
  if (!('errno' in event)) return undefined;
  return event.errno === 0 ? 'ok' : 'failed';
}
