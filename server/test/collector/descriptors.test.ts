import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { fakeBpftrace, temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { fakeHost } from './fake-host.ts';

function url(path: string): string {
  return JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
}

/**
 * Runs a module with a limit of open files; returns its exit code and output. The module is bundled first, because the module
 * loader opens hundreds of files at once.
 */
async function underLimit(script: string, limit: number): Promise<{ code: number | null; text: string }> {
  const outfile = script.replace(/\.mts$/, '.bundle.mjs');
  await build({
    entryPoints: [script],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  });
  const command = `ulimit -n ${limit}; exec "${process.execPath}" "${outfile}"`;
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, text };
}

const EXHAUST = `
  import { closeSync, openSync } from 'node:fs';
  const held = [];
  export const exhaust = () => { try { for (;;) held.push(openSync('/dev/null')); } catch (error) { if (error.code !== 'EMFILE') throw error; } };
  export const free = () => { for (const fd of held.splice(0)) closeSync(fd); };
`;

test('without a free descriptor the running child continues, no exit is reported, and a restart is retried until it succeeds', async (t) => {
  const host = await fakeHost(t);
  await host.addProcess(55, 9, ['qemu-kvm', '-name', 'db']);
  const folder = await temporaryFolder(t);
  const bpftrace = await fakeBpftrace(t, 'events', '55');
  await writeFile(join(folder, 'exhaust.mts'), EXHAUST);
  const script = join(folder, 'main.mts');
  await writeFile(
    script,
    `import { exhaust, free } from './exhaust.mts';
     import { createLiveSource } from ${url('../../src/collector/collector.ts')};
     import { testFragments } from ${url('../bpftrace/test-fragments.ts')};
     const { procRoot, sysRoot } = ${JSON.stringify(host)};
     const records = [];
     const source = createLiveSource({
       fragments: testFragments(), bpftrace: ${JSON.stringify(bpftrace)}, mapKeys: 64, tracer: '1', uid: 0,
       logger: { info() {}, warn() {} }, procRoot, sysRoot,
       timing: { restartMs: 20, restartMaxMs: 50, unavailableMs: 50, modulesMs: 20, processesMs: 20, missesMs: 20, tickMs: 20,
         spacingMs: { start: 0, gap: 0, loss: 0, owner_exit: 0 } },
     });
     const stop = new AbortController();
     const ended = source.run(({ record }) => records.push(record), stop.signal);
     const until = async (what, found) => {
       for (const end = Date.now() + 90_000; !found(); await new Promise((resolve) => setTimeout(resolve, 20)))
         if (Date.now() > end) { console.log('timed out: ' + what, JSON.stringify(records.slice(-20))); process.exit(3); }
     };
     const count = (found) => records.filter(found).length;
     const child = (state) => ({ type, data }) => type === 'child' && data.state === state;
     const failed = (source) => ({ type, data }) => type === 'host_error' && data.source === source;
     await until('snapshot', () => count(({ type }) => type === 'snapshot') > 0 && count(({ type }) => type === 'process') > 0);
     exhaust();
     await until('errors', () => count(failed('modules')) > 3 && count(failed('process')) > 3);
     const beforeKill = { children: count(({ type }) => type === 'child'), exits: count(({ type }) => type === 'exit') };
     const pid = records.find(child('starting')) && process._getActiveHandles().find((handle) => handle.spawnfile)?.pid;
     process.kill(pid, 'SIGKILL');
     await until('failed restarts', () => count(({ type, data }) => type === 'child' && data.reason === 'resources') >= 3);
     const reason = records.find(({ type, data }) => type === 'child' && data.reason === 'resources').data;
     free();
     const beats = () => count(({ type }) => type === 'heartbeat');
     const before = beats();
     await until('recovery', () => beats() > before + 3);
     stop.abort();
     await ended;
     console.log(JSON.stringify({ beforeKill, reason, unavailable: count(child('unavailable')), exits: count(({ type }) => type === 'exit') }));`,
  );
  const { code, text } = await underLimit(script, 100);
  assert.equal(code, 0, text);
  const result = JSON.parse(text.trim().split('\n').at(-1) ?? '');
  assert.deepEqual(result.beforeKill, { children: 1, exits: 0 });
  assert.match(result.reason.message, /not started: .*EMFILE/);
  assert.match(result.reason.remedy, /LimitNOFILE=/);
  assert.deepEqual([result.unavailable, result.exits], [0, 0]);
});

test('a helper command that cannot get a descriptor does not end the program', async (t) => {
  const folder = await temporaryFolder(t);
  const bpftrace = await fakeBpftrace(t, 'normal');
  await writeFile(join(folder, 'exhaust.mts'), EXHAUST);
  const script = join(folder, 'main.mts');
  await writeFile(
    script,
    `import { exhaust, free } from './exhaust.mts';
     import { findBpftrace } from ${url('../../src/bpftrace/installed.ts')};
     import { findGuard } from ${url('../../src/bpftrace/process/launch.ts')};
     import { quiesceCpus } from ${url('../../src/host/processors.ts')};
     const ask = async () => [
       await findBpftrace({ command: ${JSON.stringify(bpftrace)}, searchPath: process.env.PATH }),
       await findGuard(process.env.PATH),
       await quiesceCpus('/sys'),
     ];
     await ask();
     exhaust();
     const without = await ask();
     free();
     console.log(JSON.stringify([without, await ask()]));`,
  );
  const { code, text } = await underLimit(script, 100);
  assert.equal(code, 0, text);
  const [[bpftraceThen, guardThen], [bpftraceNow, guardNow, notVisited]] = JSON.parse(text);
  assert.equal(bpftraceThen.reason, 'resources');
  assert.match(bpftraceThen.message, /EMFILE/);
  assert.deepEqual([guardThen.command, guardThen.final], [[], false]);
  assert.equal(bpftraceNow.version, '0.23.2');
  assert.deepEqual([guardNow.final, notVisited], [true, 0]);
});

test('names of a container are read later, if no descriptor is free', async (t) => {
  const folder = await temporaryFolder(t);
  const id = 'a'.repeat(64);
  const config = join(folder, '1/root/var/lib/docker/containers', id);
  await mkdir(config, { recursive: true });
  await writeFile(join(config, 'config.v2.json'), '{"Name":"/web"}');
  await writeFile(join(folder, 'exhaust.mts'), EXHAUST);
  const script = join(folder, 'main.mts');
  await writeFile(
    script,
    `import { exhaust, free } from './exhaust.mts';
     import { readContainerNames } from ${url('../../src/host/container-names.ts')};
     const read = () => readContainerNames(${JSON.stringify(folder)}, 9, { container_id: '${id}' });
     exhaust();
     const without = await read().catch((error) => error.code);
     free();
     console.log(JSON.stringify([without, await read()]));`,
  );
  const { code, text } = await underLimit(script, 100);
  assert.equal(code, 0, text);
  assert.deepEqual(JSON.parse(text), ['EMFILE', { container_name: 'web' }]);
});
