import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { MapName } from '../../src/protocol/declared.ts';
import { decodeLine } from '../../src/protocol/decode.ts';
import { decodeCounter, MAPS, splitKey, unpackName } from '../../src/protocol/maps.ts';
import { counterLine, packName } from '../fixtures/stream-lines.ts';

function number(name: MapName): number {
  return MAPS[name].number;
}
function printed(...fields: readonly (string | number)[]): string {
  return `{"type": "value", "data": [13,${fields.join(',')}]}`;
}
const MAP_NAMES = Object.keys(MAPS) as MapName[];
const KVM = packName('kvm');
const MLX5 = packName('mlx5_core');

const COUNTERS: readonly [string, string, MapName, string, number][] = [
  ['a key of two parts', printed(number('exports'), '[16640,2]', 3), 'exports', '16640,2', 3],
  ['a key of one part', printed(number('private_reads'), 1, 7), 'private_reads', '1', 7],
  ['a map without a key', printed(number('releases'), 0, 4), 'releases', '', 4],
  ['a count of zero', printed(number('missed'), 0, 0), 'missed', '', 0],
  [
    'a key with 64-bit numbers, without loss of a digit',
    printed(number('import_rejections'), `[1,16640,2,${MLX5},95,8]`, 2),
    'import_rejections',
    `1,16640,2,${MLX5},95,8`,
    2,
  ],
  [
    'the largest 64-bit numbers',
    printed(number('detaches'), '[16640,2,18446744073709551615,9007199254740993]', 1),
    'detaches',
    '16640,2,18446744073709551615,9007199254740993',
    1,
  ],
  [
    'numbers in quotes',
    printed(number('detaches'), '[16640,2,"7310575183467606885","0"]', '"3"'),
    'detaches',
    '16640,2,7310575183467606885,0',
    3,
  ],
  [
    'a sum above 2^53',
    printed(number('export_bytes'), '[16640,1]', '"9007199254740993"'),
    'export_bytes',
    '16640,1',
    9007199254740992,
  ],
  [
    'a device of a PCI domain beyond 16 bits',
    printed(number('exports'), `[${0x10001_8a00},0]`, 1),
    'exports',
    `${0x10001_8a00},0`,
    1,
  ],
  ['a bare key in quotes', printed(number('private_reads'), '"1"', 7), 'private_reads', '1', 7],
  ['a number printed as signed', printed(number('unmaps'), '[0,0,-1,0]', 1), 'unmaps', '0,0,-1,0', 1],
  [
    'spaces after the commas',
    `{"type": "value", "data": [13, ${number('imports')}, [1, 16640, 2, ${KVM.replace(',', ', ')}], 2]}`,
    'imports',
    `1,16640,2,${KVM}`,
    2,
  ],
  ['no space after the colons', '{"type":"value","data":[13,0,[1,2],3]}', 'exports', '1,2', 3],
  ['a carriage return at the end', `${printed(0, '[1,2]', 3)}\r`, 'exports', '1,2', 3],
];

for (const [what, line, name, key, value] of COUNTERS) {
  test(`decodes a counter line with ${what}`, () => {
    assert.deepEqual(decodeCounter(line), { name, key, value });
    assert.deepEqual(decodeLine(line), { type: 'counter', data: { name, key, value } });
  });
}

const REJECTED: readonly [string, string][] = [
  ['a map number that is not declared', printed(9999, 0, 1)],
  ['a map number that is negative', printed(-1, 0, 1)],
  ['a map number that is not a number', printed('"x"', 0, 1)],
  ['a key with one part too few', printed(number('exports'), '[1]', 1)],
  ['a bare key for a map with two parts', printed(number('exports'), 1, 1)],
  ['a key with one part too many', printed(number('exports'), '[1,2,3]', 1)],
  ['a key of imports without device and privacy', printed(number('imports'), `[1,${KVM}]`, 1)],
  ['a key for a map without keys', printed(number('releases'), 1, 1)],
  ['a list for a map without keys', printed(number('releases'), '[0,0]', 1)],
  ['an empty key', printed(number('exports'), '[]', 1)],
  ['a key in a key', printed(number('exports'), '[[1,2]]', 1)],
  ['two numbers with a space between them', printed(number('private_reads'), '"1 2"', 1)],
  ['a leading zero in quotes', printed(number('exports'), '["01",2]', 1)],
  ['a negative zero in quotes', printed(number('detaches'), '["-0",2]', 1)],
  ['a value with a leading zero in quotes', printed(number('releases'), 0, '"01"')],
  ['a value with an exponent', printed(number('releases'), 0, '1e3')],
  ['a space before a part', printed(number('exports'), '[ 1,2]', 1)],
  ['a count beyond 2^53', printed(number('releases'), 0, '"9007199254740993"')],
  ['a sum beyond 64 bits', printed(number('export_ns'), 0, '"18446744073709551616"')],
  ['a device beyond 32 bits of domain', printed(number('exports'), `[${2 ** 48},2]`, 1)],
  ['a negative device', printed(number('exports'), '[-1,2]', 1)],
  ['an errno above 4095', printed(number('export_rejections'), '[1,4096,0]', 1)],
  ['a word of a name beyond 64 bits', printed(number('detaches'), '["18446744073709551616",0]', 1)],
  ['a word of a name below 64 bits', printed(number('detaches'), '["-9223372036854775809",0]', 1)],
  ['a number of more than 20 digits', printed(number('private_reads'), '123456789012345678901', 1)],
  ['a key that is text', printed(number('private_reads'), '"a"', 1)],
  ['a key that is a fraction', printed(number('private_reads'), 1.5, 1)],
  ['a negative value', printed(number('releases'), 0, -1)],
  ['a value that is a fraction', printed(number('releases'), 0, 1.5)],
  ['a value that is text', printed(number('releases'), 0, '"x"')],
  ['a value that is true', printed(number('releases'), 0, 'true')],
  ['no value', printed(number('releases'), 0)],
  ['one field too many', printed(number('exports'), '[1,2]', 3, 4)],
];

for (const [what, line] of REJECTED) {
  test(`rejects a counter line with ${what}`, () => {
    assert.deepEqual(decodeLine(line), { type: 'failure', reason: 'bad_map', sample: line });
  });
}

test('a line of another form is not a counter', () => {
  for (const line of [
    '',
    'text',
    '{"type": "value", "data": [1,2,3,4]}',
    '{"type": "map", "data": {"@a": 1}}',
  ])
    assert.equal(decodeCounter(line), null, line);
});

const WORD = { min: -(2n ** 63n), max: 2n ** 64n - 1n };
const SMALL = { min: 0n, max: 63n };
const SUMS: readonly MapName[] = ['export_bytes', 'export_ns', 'revoke_ns', 'import_ns'];

function partOf(part: string) {
  return fc.bigInt(part.startsWith('name') ? WORD : SMALL);
}
const counter = fc
  .constantFrom(...MAP_NAMES)
  .chain((name) =>
    fc.tuple(
      fc.constant(name),
      fc.tuple(...MAPS[name].key.map(partOf)),
      fc.bigInt({ min: 0n, max: SUMS.includes(name) ? 2n ** 64n - 1n : 2n ** 53n - 1n }),
    ),
  );

test('a key keeps every digit, with or without quotes and spaces', () => {
  fc.assert(
    fc.property(
      counter,
      fc.array(fc.boolean()),
      fc.constantFrom(',', ', '),
      ([name, parts, value], quoted, comma) => {
        let place = 0;
        const print = (part: bigint): string => (quoted[place++] === true ? `"${part}"` : String(part));
        const key = parts.length > 1 ? `[${parts.map(print).join(comma)}]` : print(parts[0] ?? 0n);
        const line = `{"type": "value", "data": [${[13, number(name), key, print(value)].join(comma)}]}`;
        assert.deepEqual(decodeCounter(line), { name, key: parts.join(','), value: Number(value) });
        assert.deepEqual(splitKey(parts.join(',')).map(BigInt), parts);
      },
    ),
  );
});

test('a key with the wrong number of parts is rejected', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...MAP_NAMES),
      fc.array(fc.nat(), { minLength: 1, maxLength: 9 }),
      (name, parts) => {
        const expected = MAPS[name].key.length;
        fc.pre(parts.length !== expected && !(expected === 0 && parts.length === 1 && parts[0] === 0));
        assert.equal(decodeCounter(counterLine(name, parts.join(','), 1)), 'bad_map');
      },
    ),
  );
});

test('the numbers of the maps do not change, because recordings contain them', () => {
  const names = ['exports', 'export_bytes', 'export_rejections', 'missed', 'emitted', 'unmaps'] as const;
  assert.deepEqual(names.map(number), [0, 1, 2, 18, 19, 20]);
});

for (const name of ['kvm', 'iommu', 'mlx5_core', '0000:41:00.0', 'sixteen-bytes-ok', 'é', '']) {
  test(`unpacks the importer name ${JSON.stringify(name)}`, () => {
    const [word0, word1] = splitKey(packName(name));
    assert.equal(unpackName(word0 ?? '', word1 ?? ''), name);
  });
}

test('unpacks a word that was printed as a signed number', () => {
  assert.equal(unpackName('-1', '0'), '\ufffd'.repeat(8));
});

test('ends a name at its first NUL', () => {
  const word = Buffer.from('ab\0cdefg').readBigUInt64LE(0);
  assert.equal(unpackName(String(word), '7'), 'ab');
});
