import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { before, test } from 'node:test';
import type { ParsedFamily } from '../../server/test/fixtures/parse-exposition.ts';
import { ALERTS_PAGE, alertsPage } from '../alerts-page.ts';
import { INCIDENTS_PAGE, incidentsPage } from '../incidents-page.ts';
import { allFamilies, METRICS_PAGE, pageOf } from '../metrics-page.ts';
import { REASONS_PAGE, reasonsPage } from '../reasons-page.ts';
import { RECORDINGS_PAGE, recordingsPage } from '../recordings-page.ts';
import { STREAM_PAGE, streamPage } from '../stream-page.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
function read(path: string): string {
  return readFileSync(join(REPOSITORY, path), 'utf8');
}
function pagesBelow(folder: string): string[] {
  return readdirSync(join(REPOSITORY, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(folder, file));
}
const PAGES = [
  ...readdirSync(REPOSITORY).filter((file) => file.endsWith('.md')),
  ...['dashboards', 'docs', 'lab', 'probes', 'recordings'].flatMap(pagesBelow),
];

let families: ParsedFamily[] = [];
before(async () => {
  families = await allFamilies();
});

/** The labels of each series that a query can name, including the series of histograms. */
function series(): Map<string, Set<string>> {
  const known = new Map<string, Set<string>>();
  for (const { name, type, samples } of families) {
    const labels = new Set(samples.flatMap((sample) => Object.keys(sample.labels)));
    for (const end of type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''])
      known.set(`${name}${end}`, labels);
    if (type === 'histogram') known.set(name, labels);
  }
  return known;
}

test('docs/metrics.md matches the served metrics', () => {
  assert.equal(readFileSync(METRICS_PAGE, 'utf8'), pageOf(families), 'run `npm run docs` to write it again');
});

test('docs/reasons.md matches the catalogue', () => {
  assert.equal(readFileSync(REASONS_PAGE, 'utf8'), reasonsPage(), 'run `npm run docs` to write it again');
});

test('the table of docs/incidents.md matches the rules', () => {
  assert.equal(readFileSync(INCIDENTS_PAGE, 'utf8'), incidentsPage(), 'run `npm run docs` to write it again');
});

test('the tables of docs/stream.md match the declarations of the probes', () => {
  assert.equal(readFileSync(STREAM_PAGE, 'utf8'), streamPage(), 'run `npm run docs` to write it again');
});

test('recordings/README.md lists each recording', () => {
  assert.equal(
    readFileSync(RECORDINGS_PAGE, 'utf8'),
    recordingsPage(),
    'run `npm run docs` to write it again',
  );
});

test('docs/alerts.md matches the rules', () => {
  assert.equal(readFileSync(ALERTS_PAGE, 'utf8'), alertsPage(), 'run `npm run docs` to write it again');
});

test('every metric that a page names is served', () => {
  const known = series();
  // The changelog has names that changed.
  for (const page of PAGES.filter((path) => path !== 'CHANGELOG.md')) {
    for (const [name] of read(page).matchAll(/\bvfio_dmabuf_[a-z_]+[a-z]\b/g))
      assert.ok(known.has(name), `${page}: ${name}`);
  }
});

test('every label in a query of dashboards/README.md is a label of its metric', () => {
  const known = series();
  let queries = 0;
  for (const [, block = ''] of read('dashboards/README.md').matchAll(/```promql\n(.*?)```/gs)) {
    for (const query of block.replaceAll(/\n +/g, ' ').trim().split('\n')) {
      queries += 1;
      const names = query.match(/vfio_dmabuf_[a-z_]+/g) ?? [];
      assert.notEqual(names.length, 0, query);
      // Prometheus adds `instance` to every series.
      const labels = new Set(['instance', ...names.flatMap((name) => [...(known.get(name) ?? [])])]);
      const named = [
        ...[...query.matchAll(/\b(?:by|on) \(([a-z_, ]+)\)/g)].flatMap(([, list = '']) => list.split(', ')),
        ...[...query.matchAll(/([a-z_]+)="/g)].map(([, label = '']) => label),
      ];
      // A family without series in all streams of the tests has no known labels.
      if (names.every((name) => known.get(name)?.size === 0)) continue;
      for (const label of named) assert.ok(labels.has(label), `${label} in ${query}`);
    }
  }
  assert.ok(queries > 20);
});

test('every setting, environment variable and npm script that a page names exists', async () => {
  const { CONFIG_KEYS, environmentName } = await import('../../server/src/config/schema.ts');
  const { COMMANDS } = await import('../../server/src/cli/commands.ts');
  const ofAmtool = 'alertmanager.url';
  const ofCommands = COMMANDS.flatMap(({ options = {} }) => Object.keys(options));
  const flags = new Set<string>([...CONFIG_KEYS, ...ofCommands, 'config.file', 'config.check', ofAmtool]);
  const variables = new Set([...CONFIG_KEYS, 'config.file' as const].map(environmentName));
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  for (const page of [...PAGES, 'Dockerfile']) {
    const text = read(page);
    for (const [, flag = ''] of text.matchAll(/--([a-z]+\.[a-z.-]+[a-z])/g))
      assert.ok(flags.has(flag), `${page}: --${flag}`);
    for (const [name] of text.matchAll(/VFIO_DMABUF_TRACER_[A-Z_]+[A-Z]/g))
      assert.ok(variables.has(name), `${page}: ${name}`);
    for (const [, script = ''] of text.matchAll(/npm run ([a-z:]+)/g))
      assert.ok(script in scripts, `${page}: npm run ${script}`);
  }
});

test('every file that a page links to exists', () => {
  for (const page of PAGES) {
    for (const [, target = ''] of read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      const path = join(REPOSITORY, dirname(page), target);
      assert.ok(existsSync(path), `${page}: ${relative(REPOSITORY, path)}`);
    }
  }
});

test('the labels of the image have the values of package.json', () => {
  const { name, version, description, license } = JSON.parse(read('package.json')) as Record<string, string>;
  const labels = new Map(
    [...read('Dockerfile').matchAll(/org\.opencontainers\.image\.([a-z.]+)="([^"]*)"/g)].map(
      ([, key = '', value = '']) => [key, value],
    ),
  );
  labels.delete('base.name');
  assert.deepEqual(Object.fromEntries(labels), { title: name, version, description, licenses: license });
});

test('the base image in its label is that of the last stage', () => {
  const dockerfile = read('Dockerfile');
  const stages = new Map(
    [...dockerfile.matchAll(/^FROM (\S+)(?: AS (\S+))?$/gm)].map(([, from = '', name = '']) => [name, from]),
  );
  const last = stages.get('') ?? '';
  assert.equal(/base\.name="(.*)"/.exec(dockerfile)?.[1], stages.get(last));
});
