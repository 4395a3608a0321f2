import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { collectorCode } from '../src/collector-code.ts';

const folder = mkdtempSync(join(tmpdir(), 'collector-code-'));
after(() => rmSync(folder, { recursive: true }));

/**
 * A built program whose entry loads commands on demand, with these contents of the shared chunk and of the server's
 * chunk.
 */
function built(name: string, shared: string, server: string): string {
  const program = join(folder, name);
  const hash = (text: string): string => Buffer.from(text.padEnd(8)).toString('hex').toUpperCase().slice(-8);
  const [sharedName, serverName] = [`chunk-${hash(shared)}.mjs`, `serve-${hash(server)}.mjs`];
  mkdirSync(join(program, 'chunks'), { recursive: true });
  const write = (file: string, text: string): void => writeFileSync(join(program, file), text);
  write('vfio-dmabuf-tracer.mjs', `import{a}from"./chunks/${sharedName}";import("./chunks/${serverName}")`);
  write('chunks/record-AAAAAAAA.mjs', `import{a}from"./${sharedName}";a()`);
  write(`chunks/${sharedName}`, shared);
  write(`chunks/${serverName}`, server);
  return program;
}

test('a change of the server alone does not change the code of the collector', () => {
  assert.deepEqual(
    collectorCode(built('a', 'export let a', 'one')),
    collectorCode(built('b', 'export let a', 'two')),
  );
});

test('a change of what the collector imports changes its code', () => {
  const code = collectorCode(built('c', 'export let a', 'one'));
  assert.equal(code.length, 3, 'entry, command and the shared chunk');
  assert.notDeepEqual(code, collectorCode(built('d', 'export let a=1', 'one')));
});
