import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../src', import.meta.url));
const PROBES = fileURLToPath(new URL('../../probes', import.meta.url));
const PAGE = fileURLToPath(new URL('../web', import.meta.url));
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b(?:[^;'"]*?\bfrom)?\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;

interface Import {
  file: string;
  /** The first folder below src, or the file name if the file is directly in src. */
  part: string;
  target: string;
}

function part(file: string) {
  return file.split('/')[0] as string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(SOURCE, file), 'utf8');
  return [...text.matchAll(IMPORT)].map((match) => {
    const name = (match[1] ?? match[2]) as string;
    const target = name.startsWith('.') ? relative(SOURCE, resolve(SOURCE, dirname(file), name)) : name;
    return { file, part: part(file), target };
  });
}

const FILES = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort();
const IMPORTS = FILES.flatMap(importsOf);

/** The other parts that each part may import. A part that is not listed may import any part. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  lib: [],
  host: ['lib'],
  config: ['contract', 'lib'],
  protocol: ['lib'],
  bpftrace: ['host', 'lib', 'protocol'],
  relay: ['lib', 'protocol'],
  systemd: ['lib', 'protocol'],
  collector: ['bpftrace', 'host', 'lib', 'protocol'],
  contract: ['protocol'],
  model: ['contract', 'lib', 'protocol'],
  incidents: ['contract', 'lib', 'model', 'protocol'],
  tracer: ['contract', 'incidents', 'lib', 'model', 'protocol'],
  reference: ['contract', 'incidents', 'protocol'],
  metrics: ['contract', 'lib', 'model', 'protocol', 'tracer'],
  sinks: ['contract', 'lib'],
  http: [
    'config',
    'contract',
    'incidents',
    'lib',
    'metrics',
    'model',
    'protocol',
    'reference',
    'sinks',
    'tracer',
  ],
};

test('the check finds the source files and their imports', () => {
  assert.ok(FILES.length > 20);
  assert.ok(
    IMPORTS.some(({ file, target }) => file === 'tracer/pipeline.ts' && target === 'protocol/decode.ts'),
  );
});

test('each part imports only the parts that it is allowed to', () => {
  const ours = new Set(FILES.map(part));
  const wrong = IMPORTS.filter((one) => {
    const allowed = MAY_IMPORT[one.part];
    const target = part(one.target);
    return allowed !== undefined && ours.has(target) && target !== one.part && !allowed.includes(target);
  });
  assert.deepEqual(
    wrong.map(({ file, target }) => `${file} imports ${target}`),
    [],
  );
});

test('probes/ imports only codes, readers and types of the protocol, and one file of the server imports probes/', () => {
  const declarations = readdirSync(PROBES, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => importsOf(join(relative(SOURCE, PROBES), file)));
  assert.ok(declarations.length > 50);
  const allowed = ['protocol/codes.ts', 'protocol/declaration.ts', 'protocol/readers.ts'];
  assert.deepEqual(
    declarations
      .filter(({ target }) => !target.startsWith('../../probes/') && !allowed.includes(target))
      .map(({ file, target }) => `${file} imports ${target}`),
    [],
  );
  const importers = IMPORTS.filter(({ target }) => target.startsWith('../../probes/'));
  assert.deepEqual(
    importers.map(({ file }) => file),
    ['protocol/declared.ts'],
  );
  // So that no import of a declaration leads back to the declarations.
  const behind = new Set(IMPORTS.filter(({ file }) => allowed.includes(file)).map(({ target }) => target));
  assert.deepEqual([...behind].sort(), ['protocol/codes.ts', 'protocol/readers.ts', 'protocol/repair.ts']);
});

test('no file that we write has more than 400 lines', () => {
  const repository = fileURLToPath(new URL('../..', import.meta.url));
  const files = ['server', 'probes', 'lab', 'dashboards', 'deploy', 'tools'].flatMap((folder) =>
    readdirSync(join(repository, folder), { recursive: true, encoding: 'utf8' })
      .map((file) => join(folder, file))
      .filter((file) => /\.(?:tsx?|mjs|css|bt|c|h|sh)$/.test(file))
      .filter((file) => !/\/node_modules\/|\/fixtures\/golden\//.test(file)),
  );
  assert.ok(files.length > 500);
  const lines = (file: string): number => readFileSync(join(repository, file), 'utf8').split('\n').length - 1;
  assert.deepEqual(
    files.filter((file) => lines(file) > 400),
    [],
  );
});

test('prom-client is imported in metrics/ only', () => {
  const importers = IMPORTS.filter(({ target }) => target === 'prom-client').map(({ file }) => file);
  assert.deepEqual(importers, ['metrics/catalogue.ts', 'metrics/read-metrics.ts']);
});

test('the stream and the model use no clock, process or network, and only the recorder and the reader use files', () => {
  const impure = /^node:(?!buffer)/;
  const files = IMPORTS.filter(
    ({ part, target }) =>
      (part === 'protocol' || part === 'model' || part === 'incidents' || part === 'tracer') &&
      impure.test(target),
  );
  assert.deepEqual(
    [...new Set(files.map(({ file }) => file))],
    ['protocol/recorder.ts', 'protocol/recording.ts'],
  );
  for (const file of FILES.filter((name) => /^(?:model|incidents|tracer)\//.test(name))) {
    const text = readFileSync(join(SOURCE, file), 'utf8');
    assert.doesNotMatch(
      text,
      /\bDate\.now\b|\bperformance\b|new Date\(\)|\bprocess\.(env|hrtime|stdout)/,
      file,
    );
  }
});

test('the page runs only code of the contract, and the server imports nothing from the page', () => {
  const files = readdirSync(PAGE, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.tsx?$/.test(file),
  );
  assert.ok(files.length > 10);
  let types = 0;
  const bundled = new Set<string>();
  for (const file of files) {
    const text = readFileSync(join(PAGE, file), 'utf8');
    for (const [statement, name = ''] of text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)';/gms)) {
      assert.doesNotMatch(statement, /'node:/, file);
      if (!name.includes('../src/') && name !== 'typebox') continue;
      if (/^(?:import|export) type /.test(statement)) types += 1;
      else bundled.add(relative(SOURCE, resolve(PAGE, dirname(file), name)));
    }
    assert.doesNotMatch(text, /import\(|dangerouslySetInnerHTML|\.innerHTML|\beval\b/, file);
  }
  assert.ok(types > 5);
  assert.ok(bundled.size > 2);
  for (const file of bundled) {
    assert.match(file, /^contract\//, `the page runs ${file}`);
    const text = readFileSync(join(SOURCE, file), 'utf8');
    assert.doesNotMatch(
      text,
      /^import (?!type )[^;]*?from '(?!\.\/)/m,
      `${file} runs in the page, so it may import only types and the contract`,
    );
    for (const [, name = ''] of text.matchAll(/^import (?!type )[^;]*?from '(\.\/[^']+)';/gm)) {
      bundled.add(join(dirname(file), name));
    }
  }
  assert.deepEqual(
    IMPORTS.filter(({ target }) => target.includes('../web')).map(({ file }) => file),
    [],
  );
});
