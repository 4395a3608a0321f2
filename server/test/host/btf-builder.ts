interface Member {
  name: string;
  type: number;
  /** Offset in bits, default 0. With `bitfields`, a width in bits may be added. */
  at?: number;
  width?: number;
}

type Type =
  | { kind: 'func'; name: string }
  | { kind: 'struct' | 'union'; name: string; members: Member[]; bitfields?: boolean }
  | { kind: 'const'; type: number }
  | { kind: 'int'; name: string }
  | { kind: 'enum'; name: string; values: string[] };

const KINDS = { int: 1, struct: 4, union: 5, enum: 6, const: 10, func: 12 };

/** Builds BTF. Type ids start at 1, or continue those of the base. */
export function buildBtf(
  types: Type[],
  base: { strings: Buffer } | null = null,
): { bytes: Buffer; strings: Buffer } {
  const start = base?.strings.length ?? 0;
  let strings = base === null ? Buffer.from('\0') : Buffer.alloc(0);
  const text = (name: string): number => {
    if (name === '') return 0;
    const inBase = base?.strings.indexOf(`\0${name}\0`) ?? -1;
    if (inBase >= 0) return inBase + 1;
    const at = start + strings.length;
    strings = Buffer.concat([strings, Buffer.from(`${name}\0`)]);
    return at;
  };
  const fields: number[] = [];
  const head = (name: string, kind: keyof typeof KINDS, count: number, last: number, flag = false): void => {
    fields.push(text(name), (Number(flag) << 31) | (KINDS[kind] << 24) | count, last);
  };
  for (const type of types) {
    switch (type.kind) {
      case 'func':
        head(type.name, 'func', 1, 0);
        break;
      case 'const':
        head('', 'const', 0, type.type);
        break;
      case 'int':
        head(type.name, 'int', 0, 4);
        fields.push(32);
        break;
      case 'enum':
        head(type.name, 'enum', type.values.length, 4);
        for (const value of type.values) fields.push(text(value), 1);
        break;
      default:
        head(type.name, type.kind, type.members.length, 8, type.bitfields);
        for (const { name, type: id, at = 0, width = 0 } of type.members) {
          fields.push(text(name), id, (width << 24) | at);
        }
    }
  }
  const body = Buffer.from(Uint32Array.from(fields).buffer);
  const header = Buffer.from(
    Uint32Array.from([0x0001eb9f, 24, 0, body.length, body.length, strings.length]).buffer,
  );
  return { bytes: Buffer.concat([header, body, strings]), strings };
}
