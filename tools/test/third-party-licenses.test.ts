import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Metafile } from 'esbuild';
import { root } from '../build-options.mjs';
import { thirdPartyLicenses } from '../third-party-licenses.mjs';

/** Installs packages, named by their folders with their files, and returns what esbuild reports of a bundle of them. */
function bundleOf(
  t: TestContext,
  packages: Record<string, Record<string, string>>,
): Pick<Metafile, 'outputs'> {
  const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-licenses-'));
  t.after(() => rmSync(own, { recursive: true }));
  const inputs = Object.entries(packages).map(([folder, files]) => {
    const path = join(own, 'node_modules', folder);
    mkdirSync(path, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
    return [relative(root, join(path, 'lib/index.js')), { bytesInOutput: 1 }];
  });
  const output = { inputs: Object.fromEntries(inputs), bytes: 1, imports: [], exports: [] };
  return { outputs: { 'server/src/main.mjs': output } };
}

const manifest = (name: string, version: string, license?: unknown) =>
  JSON.stringify({ name, version, license });

test('each bundled package has its name, version, license and texts, once and in alphabetical order', (t) => {
  const program = bundleOf(t, {
    wide: {
      'package.json': manifest('wide', '2.0.0', 'ISC'),
      'license.md': 'text of wide\r\nin two lines\r\n',
    },
    '@scope/narrow': {
      'package.json': manifest('@scope/narrow', '1.0.0', 'Apache-2.0'),
      LICENSE: 'text of narrow\n',
      NOTICE: 'notice of narrow\n',
      'licensed.js': 'not a license',
    },
    'wide/node_modules/deep': {
      'package.json': manifest('deep', '1.0.0', 'MIT'),
      'LICENSE-MIT': 'deep text',
    },
  });
  const page = bundleOf(t, {
    wide: { 'package.json': manifest('wide', '2.0.0', 'ISC'), LICENSE: 'text of wide\nin two lines' },
  });
  const [intro, ...sections] = thirdPartyLicenses(program, page).split(/\n=+\n/);
  assert.match(intro ?? '', /^vfio-dmabuf-tracer contains these packages/);
  assert.deepEqual(sections, [
    '@scope/narrow 1.0.0 (Apache-2.0)\n\ntext of narrow\n\nnotice of narrow\n',
    'deep 1.0.0 (MIT)\n\ndeep text\n',
    'wide 2.0.0 (ISC)\n\ntext of wide\nin two lines\n',
  ]);
});

test('a package without a license text fails the build, with its name and where to write the text', (t) => {
  const bundle = bundleOf(t, { '@scope/bare': { 'package.json': manifest('@scope/bare', '1.2.3', 'MIT') } });
  assert.throws(() => thirdPartyLicenses(bundle), {
    message:
      /^@scope\/bare 1\.2\.3 \(MIT\) is bundled, .* write it to .*\/tools\/licenses\/@scope-bare-1\.2\.3\.txt$/,
  });
});

test('the text of a package that has none comes from tools/licenses, for exactly its version', (t) => {
  const bundle = (version: string) =>
    bundleOf(t, { 'abstract-logging': { 'package.json': manifest('abstract-logging', version, 'MIT') } });
  assert.match(thirdPartyLicenses(bundle('2.0.1')), /Permission is hereby granted/);
  assert.throws(() => thirdPartyLicenses(bundle('2.0.2')), /abstract-logging 2\.0\.2/);
});

test('a package without a license fails the build, with its name', (t) => {
  const bundle = bundleOf(t, { bare: { 'package.json': manifest('bare', '1.2.3'), LICENSE: 'text' } });
  assert.throws(
    () => thirdPartyLicenses(bundle),
    /bare 1\.2\.3 is bundled, but its package\.json names no license/,
  );
});
