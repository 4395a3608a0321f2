import { type Static, Type } from 'typebox';
import { LOSS_STAGES } from './codes.ts';

/** Start times in /proc are in hundredths of a second (USER_HZ). */
const MICROS_PER_TICK = 10_000;

/**
 * Lines that the collector itself writes between the lines of bpftrace, as `{"type": T, "data": D}`.
 * Every `t` is in microseconds since boot (CLOCK_BOOTTIME), the clock of bpftrace's nsecs. docs/stream.md
 * describes the whole format.
 */

/** JSON numbers are exact up to this value. */
const LARGEST = Number.MAX_SAFE_INTEGER;
const Micros = Type.Integer({ minimum: 0, maximum: LARGEST, description: 'microseconds since boot' });
function Count(description?: string) {
  return Type.Integer({
    minimum: 0,
    maximum: LARGEST,
    ...(description === undefined ? {} : { description }),
  });
}
const Pid = Type.Integer({ minimum: 0, maximum: LARGEST });
function StartTicks(description?: string) {
  return Type.Integer({
    minimum: 0,
    maximum: Math.floor(LARGEST / MICROS_PER_TICK),
    ...(description === undefined ? {} : { description }),
  });
}
const Generation = Type.Integer({ minimum: 1, maximum: LARGEST });
/** The format of `pciAddress`: a domain has 32 bits, and at least four digits. */
function DeviceAddress(description: string) {
  return Type.String({ pattern: '^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\\.[0-7]$', description });
}
function PackedDevice(description: string) {
  return Type.Integer({ minimum: 0, maximum: 2 ** 48 - 1, description });
}
/** A limit against bad input; a program has a few dozen probes. */
const MOST_PROBES = 1024;

export const FORMAT_VERSION = 1;

export const Header = Type.Object({
  format: Type.Literal(FORMAT_VERSION),
  tracer: Type.String(),
  kernel: Type.String(),
  boot_epoch_us: Type.Integer({
    minimum: -LARGEST,
    maximum: LARGEST,
    description: 'wall clock at t = 0, microseconds since 1970',
  }),
  t: Micros,
  simulation: Type.Optional(
    Type.String({ description: 'faults that the collector simulates; absent if nothing is simulated' }),
  ),
});
export type Header = Static<typeof Header>;

/** The most characters of the id of a stream. */
export const STREAM_ID_LIMIT = 64;

/**
 * Written by the relay to one reader, where its lines begin and where they go on after a gap. The lines of a stream are
 * numbered from 0. The `state` lines after this one have no number: they repeat what the reader may not know.
 */
export const Joined = Type.Object({
  t: Micros,
  stream: Type.String({ minLength: 1, maxLength: STREAM_ID_LIMIT, description: 'id of the stream' }),
  next: Count('number of the first line after the state lines'),
  missed: Count('lines before `next` that the reader asked for and that are not kept any more'),
  state: Count('number of state lines'),
});
export type Joined = Static<typeof Joined>;

/** One probe of the composed program: attached, or the reason why not. */
export const ProbeState = Type.Object({
  probe: Type.String({ description: 'name of the fragment, e.g. export' }),
  function: Type.String(),
  module: Type.Union([Type.String(), Type.Null()]),
  attached: Type.Boolean(),
  reason: Type.Union([Type.String(), Type.Null()]),
});
export type ProbeState = Static<typeof ProbeState>;

export const DIALECTS = ['private-v1', 'private-v2', 'mainline', 'core', 'none'] as const;
export const Dialect = Type.Enum([...DIALECTS]);
export type Dialect = (typeof DIALECTS)[number];

/** Why a child ended or could not start. A closed set: it is also the label `reason` of collector_restarts_total. */
export const CHILD_REASONS = [
  'stopped',
  'handed_over',
  'crashed',
  'killed',
  'hung',
  'start_failed',
  'no_bpftrace',
  'unsupported_bpftrace',
  'not_root',
  'no_btf',
  'lockdown',
  'no_symbols',
  'function_missing',
  'compile_error',
  'permission',
  'resources',
  'attach_failed',
] as const;
export const ChildReason = Type.Enum([...CHILD_REASONS]);
export type ChildReason = (typeof CHILD_REASONS)[number];

export const Child = Type.Union([
  Type.Object({
    t: Micros,
    generation: Generation,
    state: Type.Literal('starting'),
    bpftrace: Type.String(),
    dialect: Dialect,
    probes: Type.Array(ProbeState, { maxItems: MOST_PROBES }),
  }),
  Type.Object(
    {
      t: Micros,
      generation: Generation,
      state: Type.Literal('changed'),
      probes: Type.Array(ProbeState, { maxItems: MOST_PROBES }),
      blind: Type.Optional(
        Type.Array(Type.String(), {
          maxItems: MOST_PROBES,
          description:
            'probes whose module was loaded or reloaded: they are not attached, so calls of their functions may be missed',
        }),
      ),
      blind_since: Type.Optional(Count('time of the last check that found the modules unchanged')),
    },
    { description: 'a module with probes was unloaded, loaded, or reloaded while the child runs' },
  ),
  Type.Object({
    t: Micros,
    generation: Generation,
    state: Type.Literal('exited'),
    reason: ChildReason,
    message: Type.String(),
    remedy: Type.Optional(Type.String({ description: 'the fix, if the child did not start' })),
    blind_since: Type.Optional(
      Count(
        'if all probes were detached with vfio_pci_core: time of the last check that found the module unchanged',
      ),
    ),
  }),
  Type.Object({
    t: Micros,
    generation: Type.Literal(0),
    state: Type.Literal('unavailable'),
    reason: ChildReason,
    message: Type.String(),
    remedy: Type.String(),
    dialect: Dialect,
    probes: Type.Array(ProbeState, { maxItems: MOST_PROBES }),
  }),
]);
export type Child = Static<typeof Child>;

/** Written each second while no child runs, so that blind time grows. */
export const Tick = Type.Object({ t: Micros });
export type Tick = Static<typeof Tick>;

/** Cumulative count of losses at one stage since the collector started; for the stage relay since the last `joined`. */
export const Loss = Type.Object({
  t: Micros,
  stage: Type.Enum([...LOSS_STAGES]),
  count: Count(),
});
export type Loss = Static<typeof Loss>;

/**
 * What the collector reads periodically on the host. A closed set: it is also the label `source` of
 * host_read_errors_total.
 */
export const HOST_SOURCES = [
  'clock',
  'device',
  'facts',
  'holders',
  'modules',
  'probe_misses',
  'process',
  'processors',
] as const;
export type HostSource = (typeof HOST_SOURCES)[number];

/**
 * Failed reads of the host, cumulative since the collector started. A failed read does not mean that its object is
 * missing.
 */
export const HostError = Type.Object({
  t: Micros,
  source: Type.Enum([...HOST_SOURCES]),
  count: Type.Integer({ minimum: 0 }),
  message: Type.String({ description: 'the last error, e.g. EMFILE: /proc/1/stat' }),
});
export type HostError = Static<typeof HostError>;

/**
 * The wall clock was stepped. From now on, add `boot_epoch_us` to a `t` of the stream to get microseconds since 1970.
 */
export const WallClock = Type.Object({
  t: Micros,
  boot_epoch_us: Type.Integer({ description: 'wall clock at t = 0, microseconds since 1970' }),
});
export type WallClock = Static<typeof WallClock>;

/** State of the recording of `run --record`. Only the server of `run` gets this line: it is in no recording. */
export const Recording = Type.Object({
  up: Type.Boolean({ description: 'false after the first error of its file' }),
  lines_dropped: Count('lines that are missing in it, cumulative'),
});
export type Recording = Static<typeof Recording>;

export const Device = Type.Object({
  t: Micros,
  device: DeviceAddress('PCI address, e.g. 0000:41:00.0 or 10001:8a:00.0'),
  vendor_id: Type.String(),
  device_id: Type.String(),
  driver: Type.String(),
  iommu_group: Type.String(),
  numa_node: Type.Integer({ minimum: -1, maximum: LARGEST }),
  class: Type.Optional(Type.String({ description: 'PCI class code as in sysfs, e.g. 030200' })),
  vendor_name: Type.Optional(Type.String({ description: 'from pci.ids, as device_name and class_name' })),
  device_name: Type.Optional(Type.String()),
  class_name: Type.Optional(Type.String()),
  interfaces: Type.Optional(
    Type.Array(Type.String(), {
      maxItems: 64,
      description: 'names of its interfaces: RDMA devices, DRM cards, network interfaces',
    }),
  ),
});
export type Device = Static<typeof Device>;

/** A reported device has left: its sysfs entry was removed, or it is no longer bound to a VFIO driver. */
export const DeviceGone = Type.Object({ t: Micros, device: DeviceAddress('PCI address') });
export type DeviceGone = Static<typeof DeviceGone>;

const NAME_SOURCES = ['command_line', 'cgroup'] as const;

/** The identity of a process, written once when it is first seen. name and uuid are those of the VM that it runs. */
export const Process = Type.Object({
  t: Micros,
  pid: Pid,
  start_ticks: StartTicks('field 22 of /proc/PID/stat; unique together with the pid'),
  comm: Type.String(),
  vmm: Type.Union([Type.String(), Type.Null()], {
    description: 'qemu, ... or null if it is not a known VMM',
  }),
  name: Type.Union([Type.String(), Type.Null()]),
  uuid: Type.Union([Type.String(), Type.Null()]),
  tgid: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: LARGEST,
      description:
        'the process, if pid is one of its other threads: KVM names a VM by the thread that created it',
    }),
  ),
  name_source: Type.Optional(Type.Enum([...NAME_SOURCES])),
  scope: Type.Optional(
    Type.String({ description: 'systemd scope of the VM, unescaped, e.g. machine-qemu-7-web' }),
  ),
  pod_uid: Type.Optional(Type.String({ description: 'UID of the Kubernetes pod' })),
  pod_name: Type.Optional(Type.String({ description: 'name of the Kubernetes pod' })),
  pod_namespace: Type.Optional(Type.String()),
  container_id: Type.Optional(Type.String()),
  container_name: Type.Optional(Type.String({ description: 'in a pod, the name in its specification' })),
});
export type Process = Static<typeof Process>;

/**
 * The earliest start of the process in microseconds since boot: /proc rounds down to hundredths of a second (USER_HZ).
 */
export function startMicros(startTicks: number): number {
  return startTicks * MICROS_PER_TICK;
}

/** A process that was reported before has ended. start_ticks is absent if it ended before its start could be read. */
export const Exit = Type.Object({
  t: Micros,
  pid: Pid,
  start_ticks: Type.Optional(StartTicks()),
});
export type Exit = Static<typeof Exit>;

export const Holder = Type.Object({ pid: Pid, comm: Type.String(), fds: Count() });
export type Holder = Static<typeof Holder>;

/** A process that has a VFIO device open. */
const DeviceHolder = Type.Object({
  device: PackedDevice('domain << 16 | bus << 8 | devfn'),
  pid: Pid,
});

export const SnapshotBuffer = Type.Object({
  inode: Count(),
  // The kernel's size: the one-shot program and fdinfo print 64 bits.
  bytes: Type.Integer({ minimum: 0, maximum: 2 ** 64 }),
  device: PackedDevice('domain << 16 | bus << 8 | devfn; 0 if the device is closed'),
  ranges: Count(),
  revoked: Type.Boolean(),
  privacy: Type.Integer({ minimum: 0, maximum: 2 }),
  kvm: Type.Optional(
    Type.Boolean({ description: 'whether the device belongs to a VM; absent if it is closed' }),
  ),
  kvm_pid: Pid,
  vm_type: Count(),
  attachments: Count('1024 means 1024 or more'),
  holders: Type.Array(Holder),
});
export type SnapshotBuffer = Static<typeof SnapshotBuffer>;

/** Buffers and holders of a snapshot that do not fit into its line. Parts are written before that line. */
export const SnapshotPart = Type.Object({
  t_begin: Micros,
  buffers: Type.Array(SnapshotBuffer),
  device_holders: Type.Array(DeviceHolder),
});
export type SnapshotPart = Static<typeof SnapshotPart>;

/** All live VFIO dma-bufs, from a one-shot iter:dmabuf program and from fdinfo. */
export const Snapshot = Type.Object({
  t_begin: Micros,
  t_end: Micros,
  cause: Type.Enum(['start', 'gap', 'loss', 'owner_exit']),
  complete: Type.Boolean({
    description: 'false: an error left part of it out, so a missing buffer may still exist',
  }),
  errors: Type.Array(Type.String()),
  parts: Type.Optional(Count('number of snapshot_part lines before this one, with the same t_begin')),
  buffers: Type.Array(SnapshotBuffer),
  device_holders: Type.Optional(Type.Array(DeviceHolder)),
});
export type Snapshot = Static<typeof Snapshot>;

export type CollectorLine =
  | { type: 'header'; data: Header }
  | { type: 'joined'; data: Joined }
  | { type: 'child'; data: Child }
  | { type: 'tick'; data: Tick }
  | { type: 'loss'; data: Loss }
  | { type: 'host_error'; data: HostError }
  | { type: 'clock'; data: WallClock }
  | { type: 'recording'; data: Recording }
  | { type: 'device'; data: Device }
  | { type: 'device_gone'; data: DeviceGone }
  | { type: 'process'; data: Process }
  | { type: 'exit'; data: Exit }
  | { type: 'snapshot_part'; data: SnapshotPart }
  | { type: 'snapshot'; data: Snapshot };
