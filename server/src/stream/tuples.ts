import { CAUSES, PRIVACIES, READERS, REASONS, STAGES, TAGS, VIOLATIONS } from './codes.ts';
import { repairText } from './text.ts';

/** Reads one element of a tuple; undefined where it is not what the field promises. */
type Reader<T> = (value: unknown) => T | undefined;

const DECIMAL = /^\d{1,20}$/;

/** A number that is not negative; bpftrace 0.24+ prints what no double holds exactly as a string. */
export function readInteger(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isInteger(value) && value >= 0 ? value : undefined;
  if (typeof value === 'string' && DECIMAL.test(value)) return Number(value);
  return undefined;
}

/** bpftrace up to 0.23 prints booleans as 0 and 1, later ones as false and true. */
const flag: Reader<boolean> = (value) => {
  if (value === 1 || value === true) return true;
  if (value === 0 || value === false) return false;
  return undefined;
};

const text: Reader<string> = (value) => (typeof value === 'string' ? repairText(value) : undefined);

function code<const Names extends readonly string[]>(names: Names): Reader<Names[number]> {
  return (value) => {
    const index = readInteger(value);
    return index === undefined ? undefined : names[index];
  };
}

const int: Reader<number> = readInteger;
const cause = code(CAUSES);
const privacy = code(PRIVACIES);
const reader = code(READERS);
const reason = code(REASONS);
const stage = code(STAGES);
const violation = code(VIOLATIONS);

/**
 * The fields of each tuple after its tag, in the order of the wire (docs/stream.md). `t` is microseconds since boot,
 * `ns` the duration of the kernel's call in nanoseconds, `device` the packed PCI address (0: unknown), `errno` positive,
 * `pid` a thread group id in the initial pid namespace (0: none). That of a VM (`kvm_pid`, `vm_pid`, `owner_vm_pid`) is
 * kvm->userspace_pid, which is the thread that made it: task_pid_nr(current) in kvm_uevent_notify_change().
 */
export const TUPLES = {
  ready: { t: int },
  heartbeat: { t: int, emitted: int },
  export: {
    t: int,
    ns: int,
    pid: int,
    device: int,
    errno: int,
    reason,
    region: int,
    ranges: int,
    bytes: int,
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
    device: int,
    inode: int,
    errno: int,
    reason,
    importer: text,
    importer_device: text,
    comm: text,
  },
  detach: { t: int, pid: int, device: int, inode: int, importer: text, importer_device: text, comm: text },
  buffer_state: { t: int, pid: int, device: int, inode: int, revoked: flag, cause, comm: text },
  revoke_call: { t: int, ns: int, pid: int, device: int, revoked: flag, cause, buffers: int, comm: text },
  private_read: {
    t: int,
    pid: int,
    reader,
    device: int,
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
    device: int,
    inode: int,
    errno: int,
    reason,
    violation,
    vm_pid: int,
    owner_vm_pid: int,
    slot_bytes: int,
    buffer_bytes: int,
    privacy,
    comm: text,
  },
  unbind: { t: int, pid: int, device: int, inode: int, vm_pid: int, comm: text },
  snapshot_buffer: {
    t: int,
    inode: int,
    bytes: int,
    device: int,
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
  gate: { t: int, clock: int, from: int, until: int },
  in_flight: { t: int },
  unmap: { t: int, pid: int, device: int, inode: int, importer: text, importer_device: text, comm: text },
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

/** By tag; a counter has none, its key is read from the line's text (maps.ts). */
const SHAPES: readonly (Shape | undefined)[] = Object.keys(TAGS).map((name) => {
  if (name === 'counter') return undefined;
  const type = name as TupleKind;
  return { type, names: Object.keys(TUPLES[type]), readers: Object.values(TUPLES[type]) };
});

/** Decodes `[TAG, ...]`; the failure says whether the tag or a field is at fault. */
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
