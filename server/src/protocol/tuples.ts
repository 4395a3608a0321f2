import { CAUSES, PRIVACIES, READERS, REASONS, STAGES, TAGS, VIOLATIONS } from './codes.ts';
import { repairText, TEXT_LIMIT, wellFormed } from './repair.ts';

/** Reads one element of a tuple; undefined if the value is not valid for the field. */
type Reader<T> = (value: unknown) => T | undefined;

const DECIMAL = /^(?:0|[1-9]\d{0,19})$/;
const LARGEST = 2n ** 64n - 1n;
/** 2^64, to which a double rounds the largest 64-bit numbers. A larger double never comes from a 64-bit number. */
const TOO_LARGE = 2 ** 64;

/**
 * Reads an unsigned 64-bit number, rounded above 2^53. bpftrace 0.24+ prints a number as a string if a double cannot
 * represent it exactly. Undefined for what bpftrace never prints: leading zeros, a sign, more than 64 bits.
 */
export function readUnsigned(value: unknown): number | undefined {
  if (typeof value === 'number') {
    const printed = Number.isInteger(value) && value >= 0 && value <= TOO_LARGE && !Object.is(value, -0);
    return printed ? value : undefined;
  }
  if (typeof value !== 'string' || !DECIMAL.test(value)) return undefined;
  return value.length < 20 || BigInt(value) <= LARGEST ? Number(value) : undefined;
}

/** Reads a count, a time or an identifier. It must be exact, so it is at most 2^53 - 1. */
export function readInteger(value: unknown): number | undefined {
  const number = readUnsigned(value);
  return number === undefined || number > Number.MAX_SAFE_INTEGER ? undefined : number;
}

/** bpftrace up to 0.23 prints booleans as 0 and 1, later versions as false and true. */
const flag: Reader<boolean> = (value) => {
  if (value === 1 || value === true) return true;
  if (value === 0 || value === false) return false;
  return undefined;
};

const text: Reader<string> = (value) => {
  if (typeof value !== 'string') return undefined;
  const repaired = wellFormed(repairText(value));
  return repaired.length <= TEXT_LIMIT ? repaired : undefined;
};

function code<const Names extends readonly string[]>(names: Names): Reader<Names[number]> {
  return (value) => {
    const index = readInteger(value);
    return index === undefined ? undefined : names[index];
  };
}

const int: Reader<number> = readInteger;
/** Bytes as user space requested them, so any 64-bit number. */
const bytes: Reader<number> = readUnsigned;
/** Nanoseconds of the scheduler clock. They exceed 2^53 after 104 days, and by far if a gate has no limit. */
const clock: Reader<number> = readUnsigned;
/** A domain has 32 bits. */
export const LARGEST_DEVICE = 2 ** 48 - 1;
const device: Reader<number> = (value) => {
  const packed = readInteger(value);
  return packed === undefined || packed > LARGEST_DEVICE ? undefined : packed;
};
const cause = code(CAUSES);
const privacy = code(PRIVACIES);
const reader = code(READERS);
const reason = code(REASONS);
const stage = code(STAGES);
const violation = code(VIOLATIONS);

/**
 * The fields of each tuple after its tag, in the order on the wire (docs/stream.md). `t` is in microseconds since boot.
 * `ns` is the duration of the kernel's call in nanoseconds. `device` is the packed PCI address (0: unknown). `errno` is
 * positive. `pid` is a thread group id in the initial pid namespace (0: none). The pid of a VM (`kvm_pid`, `vm_pid`,
 * `owner_vm_pid`) is kvm->userspace_pid, the thread that created the VM: task_pid_nr(current) in
 * kvm_uevent_notify_change().
 */
export const TUPLES = {
  ready: { t: int },
  heartbeat: { t: int, emitted: int },
  export: {
    t: int,
    ns: int,
    pid: int,
    device,
    errno: int,
    reason,
    region: int,
    ranges: int,
    bytes,
    inode: int,
    privacy,
    born_revoked: flag,
    kvm: flag,
    kvm_pid: int,
    vm_type: int,
    comm: text,
  },
  release: { t: int, pid: int, inode: int, comm: text },
  import: {
    t: int,
    ns: int,
    pid: int,
    stage,
    device,
    inode: int,
    errno: int,
    reason,
    importer: text,
    importer_device: text,
    comm: text,
  },
  detach: { t: int, pid: int, device, inode: int, importer: text, importer_device: text, comm: text },
  buffer_state: { t: int, pid: int, device, inode: int, revoked: flag, cause, comm: text },
  revoke_call: { t: int, ns: int, pid: int, device, revoked: flag, cause, buffers: int, comm: text },
  private_read: {
    t: int,
    pid: int,
    reader,
    device,
    inode: int,
    errno: int,
    reason,
    privacy,
    kvm_pid: int,
    comm: text,
  },
  bind: {
    t: int,
    ns: int,
    pid: int,
    device,
    inode: int,
    errno: int,
    reason,
    violation,
    vm_pid: int,
    owner_vm_pid: int,
    slot_bytes: bytes,
    buffer_bytes: bytes,
    privacy,
    comm: text,
  },
  unbind: { t: int, pid: int, device, inode: int, vm_pid: int, comm: text },
  snapshot_buffer: {
    t: int,
    inode: int,
    bytes,
    device,
    revoked: flag,
    ranges: int,
    privacy,
    kvm: flag,
    kvm_pid: int,
    vm_type: int,
    attachments: int,
  },
  snapshot_end: { t: int, buffers: int },
  read_end: { t: int, lines: int },
  gate: { t: int, clock, from: clock, until: clock },
  in_flight: { t: int },
  unmap: { t: int, pid: int, device, inode: int, importer: text, importer_device: text, comm: text },
} as const satisfies Record<Exclude<keyof typeof TAGS, 'counter'>, Record<string, Reader<unknown>>>;

export type TupleKind = keyof typeof TUPLES;
type Fields<K extends TupleKind> = {
  -readonly [F in keyof (typeof TUPLES)[K]]: (typeof TUPLES)[K][F] extends Reader<infer T> ? T : never;
};
/** A decoded tuple: `type` is its tag's name, `data` its fields. */
export type TupleRecord = { [K in TupleKind]: { type: K; data: Fields<K> } }[TupleKind];
export type TupleOf<K extends TupleKind> = Extract<TupleRecord, { type: K }>;

interface Shape {
  type: TupleKind;
  names: readonly string[];
  readers: readonly Reader<unknown>[];
}

/** Shapes by tag. A counter has none: maps.ts decodes it from the text of the line. */
const SHAPES: readonly (Shape | undefined)[] = Object.keys(TAGS).map((name) => {
  if (name === 'counter') return undefined;
  const type = name as TupleKind;
  return { type, names: Object.keys(TUPLES[type]), readers: Object.values(TUPLES[type]) };
});

/** Decodes `[TAG, ...]`. The failure names what is invalid: the tag, or a field. */
export function decodeTuple(tuple: readonly unknown[]): TupleRecord | 'unknown_tag' | 'bad_fields' {
  const tag = readInteger(tuple[0]);
  const shape = tag === undefined ? undefined : SHAPES[tag];
  if (shape === undefined) return 'unknown_tag';
  const { names, readers } = shape;
  if (tuple.length !== names.length + 1) return 'bad_fields';
  const data: Record<string, unknown> = {};
  for (let index = 0; index < names.length; index += 1) {
    const value = readers[index]?.(tuple[index + 1]);
    if (value === undefined) return 'bad_fields';
    data[names[index] as string] = value;
  }
  return { type: shape.type, data } as TupleRecord;
}
