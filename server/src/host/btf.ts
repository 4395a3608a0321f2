import { TracerError } from '../lib/errors.ts';

/**
 * A small reader of BTF, the kernel's type information (Documentation/bpf/btf.rst). A kernel has about 150,000 types
 * and 2 MB of names, so the reader builds no table of them. One pass over the strings finds the offsets of the wanted
 * names, one pass over the types compares these offsets.
 */
interface Btf {
  words: Uint32Array;
  strings: Buffer;
  /** For a module: the BTF of the kernel, whose type ids and string offsets it continues. Null for the kernel. */
  base: Btf | null;
  firstTypeId: number;
  firstString: number;
  typeCount: number;
}

export interface BtfNames {
  functions: readonly string[];
  /** `struct.member` */
  members: readonly string[];
}

export interface BtfFound {
  functions: readonly string[];
  /** `struct.member` -> offset in the struct, in bits. */
  members: ReadonlyMap<string, number>;
}

type Offsets = ReadonlyMap<string, readonly number[]>;

const MAGIC = 0xeb9f;
const KIND_STRUCT = 4;
const KIND_UNION = 5;
const KIND_FUNC = 12;
const LAST_KIND = 19;
/** FNV-1a, over 32 bits. */
const HASH_START = 0x811c9dc5 | 0;
const HASH_FACTOR = 0x01000193;
const NONE: readonly string[] = [];
/** Kinds that refer to another type: typedef, volatile, const, restrict, type_tag. */
const KINDS_THROUGH = new Set([8, 9, 10, 11, 18]);

/**
 * Reads the header and counts the types.
 *
 * @param bytes content of /sys/kernel/btf/NAME
 * @param base for a module: the BTF of the kernel
 * @throws TracerError if the format is not known
 */
function openBtf(bytes: Buffer, base: Btf | null = null): Btf {
  if (
    bytes.length < 24 ||
    new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 2))[0] !== MAGIC
  ) {
    throw unreadable();
  }
  // A copy is aligned to words, whatever the offset of the buffer is. Words are in the byte order of this machine.
  const aligned = new Uint8Array(bytes).buffer;
  const header = new Uint32Array(aligned, 0, 6);
  const [, headerLength = 0, typeOffset = 0, typeLength = 0, stringOffset = 0, stringLength = 0] = header;
  const words = new Uint32Array(aligned, headerLength + typeOffset, typeLength >>> 2);
  const btf: Btf = {
    words,
    strings: Buffer.from(aligned, headerLength + stringOffset, stringLength),
    base,
    firstTypeId: base === null ? 1 : base.firstTypeId + base.typeCount,
    firstString: base === null ? 0 : base.firstString + base.strings.length,
    typeCount: 0,
  };
  for (let at = 0; at < words.length; at = nextType(words, at)) btf.typeCount++;
  return btf;
}

/** Searches for one set of names in the BTF of the kernel, then in that of each module. */
export class BtfSearch {
  readonly #wanted: BtfNames;
  readonly #names: ReadonlyMap<number, string[]>;
  #base: Btf | null = null;
  #baseOffsets: Offsets = new Map();

  constructor(wanted: BtfNames) {
    this.#wanted = wanted;
    const names = new Map<number, string[]>();
    for (const name of new Set([...wanted.functions, ...wanted.members.flatMap((path) => path.split('.'))])) {
      names.set(hashOf(name), [...(names.get(hashOf(name)) ?? []), name]);
    }
    this.#names = names;
  }

  /** The wanted names that the kernel itself defines. To be called first. */
  searchKernel(bytes: Buffer): BtfFound {
    this.#base = openBtf(bytes);
    this.#baseOffsets = locate(this.#base, this.#names);
    return this.#search(this.#base, [this.#baseOffsets]);
  }

  /** The wanted names that a module defines. Their strings may be in the BTF of the kernel. */
  searchModule(bytes: Buffer): BtfFound {
    const btf = openBtf(bytes, this.#base);
    return this.#search(btf, [this.#baseOffsets, locate(btf, this.#names)]);
  }

  #search(btf: Btf, located: readonly Offsets[]): BtfFound {
    const offsets = (name: string): number[] => located.flatMap((names) => names.get(name) ?? []);
    const functionAt = new Map<number, string>();
    for (const name of this.#wanted.functions) for (const at of offsets(name)) functionAt.set(at, name);
    const structAt = new Map<number, { path: string; member: ReadonlySet<number> }[]>();
    for (const path of this.#wanted.members) {
      const [struct = '', member = ''] = path.split('.');
      for (const at of offsets(struct)) {
        structAt.set(at, [...(structAt.get(at) ?? []), { path, member: new Set(offsets(member)) }]);
      }
    }
    const functions = new Set<string>();
    const members = new Map<string, number>();
    const { words } = btf;
    for (let at = 0; at < words.length; at = nextType(words, at)) {
      const kind = kindOf(words, at);
      if (kind === KIND_FUNC) {
        const name = functionAt.get(words[at] as number);
        if (name !== undefined) functions.add(name);
      } else if (kind === KIND_STRUCT || kind === KIND_UNION) {
        for (const { path, member } of structAt.get(words[at] as number) ?? []) {
          const offset = members.has(path) ? null : findMember(btf, at, member);
          if (offset !== null) members.set(path, offset);
        }
      }
    }
    return { functions: [...functions], members };
  }
}

/**
 * Offset in bits of a member with one of these names, in the struct or union at word `at` or in an anonymous one inside
 * it.
 */
function findMember(btf: Btf, at: number, names: ReadonlySet<number>): number | null {
  const { words } = btf;
  const info = words[at + 1] as number;
  // With kind_flag, the upper byte of an offset is the width of a bitfield.
  const mask = info >>> 31 === 1 ? 0xffffff : 0xffffffff;
  for (let index = 0; index < (info & 0xffff); index++) {
    const member = at + 3 + index * 3;
    const name = words[member] as number;
    const offset = ((words[member + 2] as number) & mask) >>> 0;
    if (names.has(name)) return offset;
    if (name !== 0) continue;
    const inner = findStruct(btf, words[member + 1] as number);
    const within = inner === null ? null : findMember(inner.btf, inner.at, names);
    if (within !== null) return offset + within;
  }
  return null;
}

/** Finds the struct or union of a type id, through typedefs and qualifiers. */
function findStruct(btf: Btf, id: number): { btf: Btf; at: number } | null {
  if (id < btf.firstTypeId) return btf.base === null ? null : findStruct(btf.base, id);
  const { words } = btf;
  let at = 0;
  for (let current = btf.firstTypeId; current < id && at < words.length; current++) at = nextType(words, at);
  if (at >= words.length) return null;
  const kind = kindOf(words, at);
  if (kind === KIND_STRUCT || kind === KIND_UNION) return { btf, at };
  return KINDS_THROUGH.has(kind) ? findStruct(btf, words[at + 2] as number) : null;
}

function kindOf(words: Uint32Array, at: number): number {
  return ((words[at + 1] as number) >>> 24) & 0x1f;
}

/** Index of the type after the one at `at`: three words, then a part that depends on the kind. */
function nextType(words: Uint32Array, at: number): number {
  const info = words[at + 1] as number;
  const count = info & 0xffff;
  switch ((info >>> 24) & 0x1f) {
    case 1: // int
    case 14: // var
    case 17: // decl_tag
      return at + 4;
    case 3: // array
      return at + 6;
    case KIND_STRUCT:
    case KIND_UNION:
    case 15: // datasec
    case 19: // enum64
      return at + 3 + count * 3;
    case 6: // enum
    case 13: // func_proto
      return at + 3 + count * 2;
    default:
      // The size of a newer kind is not known, so the types after it cannot be read.
      if (((info >>> 24) & 0x1f) > LAST_KIND) throw unreadable();
      return at + 3;
  }
}

function unreadable(): TracerError {
  return new TracerError('host_untraceable', 'the type information of the kernel (BTF) cannot be parsed', {
    where: '/sys/kernel/btf',
  });
}

/** Offsets of the wanted names in the strings of one BTF, as the types use them. One pass over the bytes. */
function locate(btf: Btf, wanted: ReadonlyMap<number, string[]>): Offsets {
  const found = new Map<string, number[]>();
  const { strings } = btf;
  let hash = HASH_START;
  let start = 0;
  for (let at = 0; at < strings.length; at++) {
    const byte = strings[at] as number;
    if (byte !== 0) {
      hash = Math.imul(hash ^ byte, HASH_FACTOR);
      continue;
    }
    for (const name of wanted.get(hash) ?? NONE) {
      if (strings.toString('latin1', start, at) !== name) continue;
      found.set(name, [...(found.get(name) ?? []), btf.firstString + start]);
    }
    start = at + 1;
    hash = HASH_START;
  }
  return found;
}

function hashOf(name: string): number {
  let hash = HASH_START;
  for (const byte of Buffer.from(name, 'latin1')) hash = Math.imul(hash ^ byte, HASH_FACTOR);
  return hash;
}
