import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const DOCS = join(import.meta.dirname, '../../docs');
const BUILD = join(import.meta.dirname, '../build.mjs');

function build(into: string): Promise<number | null> {
  return new Promise((resolve) => {
    spawn(process.execPath, [BUILD, into], { stdio: ['ignore', 'ignore', 'inherit'] }).once('close', resolve);
  });
}

test('concurrent builds into the same folder all succeed and leave one complete build', async (t) => {
  const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-build-'));
  t.after(() => rmSync(own, { recursive: true }));
  const into = join(own, 'dist');
  mkdirSync(join(into, 'probes'), { recursive: true });
  writeFileSync(join(into, 'probes/gone.bt'), 'from an earlier build');
  assert.deepEqual(await Promise.all([1, 2, 3, 4].map(() => build(into))), [0, 0, 0, 0]);
  const { status, stdout } = spawnSync(process.execPath, [join(into, 'vfio-dmabuf-tracer.mjs'), '--version']);
  assert.equal(status, 0);
  assert.match(stdout.toString(), /\d/);
  assert.ok(
    !readdirSync(join(into, 'probes')).includes('gone.bt'),
    'a file that is no longer built must be removed',
  );
  const names = readdirSync(join(into, 'probes'), { recursive: true, encoding: 'utf8' });
  assert.ok(names.includes('export.bt') && !names.some((name) => name.endsWith('.ts')));
  const pages = (folder: string) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md'));
  assert.deepEqual(pages(join(into, 'docs')).sort(), pages(DOCS).sort());
  assert.deepEqual(readdirSync(join(into, 'docs/images')), []);
  assert.deepEqual(readdirSync(own), ['dist']);
});

test('a build without changes does not replace the folder, so that readers are not disturbed', async (t) => {
  const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-build-'));
  t.after(() => rmSync(own, { recursive: true }));
  const into = join(own, 'dist');
  assert.equal(await build(into), 0);
  const before = statSync(into).ino;
  assert.equal(await build(into), 0);
  assert.equal(statSync(into).ino, before);
});
