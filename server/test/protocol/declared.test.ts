import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DECLARATIONS } from '../../../probes/index.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import type { FragmentSet } from '../../src/bpftrace/compiler/fragment-set.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import type { Declaration, MapDeclaration, RecordDeclaration } from '../../src/protocol/declaration.ts';
import {
  checkDeclarations,
  FAMILY_DECLARATIONS,
  MAP_DECLARATIONS,
  mapsOfProbe,
  probesFeeding,
  recordsOfProbe,
} from '../../src/protocol/declared.ts';

/** A text with its snippets inserted, and every conditional line kept. */
function expand(text: string, { snippets }: FragmentSet): string {
  return text.replace(/\{\{use:([\w-]+)\}\}/g, (_, name: string) =>
    expand(snippets.get(name)?.text ?? '', { snippets } as FragmentSet),
  );
}

function matches(text: string, pattern: RegExp): string[] {
  return [...new Set(Array.from(text.matchAll(pattern), ([, name = '']) => name))].sort();
}

test('each fragment prints the records of its declaration, and counts in no map that it does not declare', async () => {
  const fragments = await loadFragments(probesDirectory());
  const declared = (DECLARATIONS as readonly Declaration[]).flatMap(({ probe }) => probe ?? []);
  assert.deepEqual(declared.sort(), fragments.probes.map(({ name }) => name).sort());
  for (const { name, text } of fragments.probes) {
    const source = expand(text, fragments);
    const printed = matches(source, /\bTAG_([A-Z_]+)\b/g).map((tag) => tag.toLowerCase());
    assert.deepEqual(printed, recordsOfProbe(name).sort(), name);
    const counted = matches(source, /@(\w+)\[[^\]]*\] = (?:count|sum)\(/g);
    const known: readonly string[] = mapsOfProbe(name);
    assert.deepEqual(
      counted.filter((map) => !known.includes(map)),
      [],
      name,
    );
  }
});

test('each fragment has a file with its declaration next to it', () => {
  const files = readdirSync(probesDirectory());
  for (const file of files.filter((name) => name.endsWith('.bt')))
    assert.ok(files.includes(file.replace(/\.bt$/, '.ts')), join('probes', file));
});

test('each label of a family comes from the key of each map that feeds it', () => {
  const label = (part: string): string =>
    ({ name0: 'importer', reader: 'importer', violation: 'kind' })[part] ?? part;
  for (const { name, key, feeds } of MAP_DECLARATIONS) {
    assert.deepEqual(
      (feeds?.labels ?? []).filter((one) => !key.map(label).includes(one)),
      [],
      name,
    );
  }
});

test('a family is present with any of the probes that count in its maps, or with those that it names', () => {
  const probesOf = (name: string): string[] => {
    const family = FAMILY_DECLARATIONS.find((one) => one.name === name);
    assert.ok(family !== undefined);
    return [...probesFeeding(family)].sort();
  };
  assert.deepEqual(probesOf('export_duration'), ['export']);
  assert.deepEqual(probesOf('policy_violations'), ['bind', 'private_read']);
  const imports = [
    ...[
      'attach',
      'bind',
      'core_attach',
      'core_map',
      'core_pin',
      'devmem',
      'fault',
      'ioas_copy',
      'ioas_map',
      'iommufd_file',
      'iommufd_map',
      'map',
    ],
    ...['pin', 'prime', 'rdma', 'rdma_map', 'slot', 'videobuf2', 'vmap'],
  ];
  assert.deepEqual(probesOf('imports'), imports);
  assert.deepEqual(probesOf('import_duration'), imports);
  assert.deepEqual(
    probesOf('missed_returns'),
    [...imports, 'export', 'late_release', 'private_read', 'revoke', 'zap'].sort(),
  );
});

function record(name: string, tag: number): RecordDeclaration {
  return { name, tag, event: true, fields: {} };
}
function map(name: string, number: number, family: string): MapDeclaration {
  return {
    name,
    number,
    key: [],
    holds: 'count',
    of: 'calls',
    feeds: { name: family, type: 'counter', help: 'Calls.', labels: [] },
  };
}
const ONE = {
  probe: 'one',
  records: [record('a', 1)],
  maps: [map('m', 1, 'f')],
} as const satisfies Declaration;

test('declarations with different names and numbers are valid', () => {
  checkDeclarations([
    ONE,
    { probe: 'two', records: [record('b', 2)], maps: [map('n', 2, 'g')], uses: [ONE] },
  ]);
  const twoMaps = { ...ONE.maps[0], name: 'n', number: 2 };
  checkDeclarations([ONE, { maps: [twoMaps] }]);
});

const TWICE: readonly [string, Declaration, RegExp][] = [
  ['probe', { probe: 'one' }, /the probe one is declared twice/],
  ['record', { records: [record('a', 2)] }, /the record a is declared twice/],
  ['tag', { records: [record('b', 1)] }, /the tag 1 is declared twice/],
  ['map', { maps: [map('m', 2, 'g')] }, /the map m is declared twice/],
  ['number of a map', { maps: [map('n', 1, 'g')] }, /the map number 1 is declared twice/],
  ['family', { maps: [map('n', 2, 'f')] }, /the family f is declared twice/],
];
for (const [what, declaration, message] of TWICE) {
  test(`a ${what} that is declared twice is an error`, () => {
    assert.throws(() => checkDeclarations([ONE, declaration]), message);
  });
}

test('a family that names a probe that is not in the list is an error', () => {
  const feeds = { name: 'g', type: 'counter', help: 'Calls.', labels: [], fedBy: ['one', 'two'] } as const;
  assert.throws(
    () => checkDeclarations([ONE, { maps: [{ ...map('n', 2, 'g'), feeds }] }]),
    /the family g is fed by two, which is not a probe/,
  );
});

test('a shared declaration that is not in the list is an error', () => {
  assert.throws(
    () => checkDeclarations([{ probe: 'two', uses: [ONE] }]),
    /the probe two uses a declaration that is not listed/,
  );
});
