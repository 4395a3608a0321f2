import assert from 'node:assert/strict';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import type { CommandContext } from '../../src/cli/command.ts';
import { doctor } from '../../src/cli/doctor.ts';
import { probes } from '../../src/cli/probes.ts';
import { loadConfig } from '../../src/config/load.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import { fakeHost } from '../collector/fake-host.ts';
import { fakeBpftrace, temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

/** Runs a command in this process, on the given host, and returns what it printed. */
async function run(
  command: (context: CommandContext) => Promise<number>,
  options: Record<string, string>,
  host?: CommandContext['host'] & { bpftrace: string },
): Promise<{ code: number; stdout: string; stderr: string }> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  const flags = [
    { key: 'bpftrace.path' as const, raw: host?.bpftrace ?? '/nowhere/bpftrace', where: 'test' },
  ];
  const context = {
    ...streams,
    config: loadConfig({ environment: {}, flags, file: undefined }),
    json: false,
    options,
    env: process.env,
    ...(host !== undefined && { host }),
  } as unknown as CommandContext;
  const printed = Promise.all([text(streams.stdout), text(streams.stderr)]);
  try {
    const code = await command(context);
    streams.stdout.end();
    streams.stderr.end();
    const [stdout, stderr] = await printed;
    return { code, stdout, stderr };
  } finally {
    void printed.catch(() => {});
    streams.stdout.destroy();
    streams.stderr.destroy();
  }
}

async function tracedHost(
  t: TestContext,
): Promise<NonNullable<CommandContext['host']> & { bpftrace: string }> {
  const host = await fakeHost(t);
  const { functions, members } = wantedBy(await loadFragments(probesDirectory()));
  await host.loadModule('vfio_pci_core', functions, members);
  const { procRoot, sysRoot, etcRoot } = host;
  return { procRoot, sysRoot, etcRoot, uid: 0, bpftrace: await fakeBpftrace(t, 'normal') };
}

test('doctor writes the facts of its host, and probes composes from them on another host', async (t) => {
  const file = join(await temporaryFolder(t), 'facts.json');
  await run(doctor, { 'facts-out': file }, await tracedHost(t));
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  const { code, stdout, stderr } = await run(probes, { facts: file });
  assert.equal(code, 0);
  assert.match(stderr, /^kernel 7\.3\.4, dialect private-v1, bpftrace 0\.23\.2\n/);
  assert.doesNotMatch(stderr, /missing: (attach|bind|export)/);
  assert.match(stdout, /^kprobe:vfio_pci_core:vfio_pci_dma_buf_attach \{$/m);
});

test('the printed program begins with what the composer has changed, as comments', async (t) => {
  const file = join(await temporaryFolder(t), 'facts.json');
  await run(doctor, { 'facts-out': file }, await tracedHost(t));
  const { stdout } = await run(probes, { facts: file });
  const [notes = '', program = ''] = stdout.split('\n\n', 2);
  assert.ok(
    notes.split('\n').every((line) => line.startsWith('// ')),
    notes,
  );
  assert.match(notes, /count\(\);` of a counter is two statements here/);
  assert.match(program, /^config = /);
});

test('probes --only composes some probes alone, and names one that does not exist', async (t) => {
  const file = join(await temporaryFolder(t), 'facts.json');
  await run(doctor, { 'facts-out': file }, await tracedHost(t));
  const { stdout, stderr } = await run(probes, { facts: file, only: 'unmap,detach' });
  assert.deepEqual(stdout.match(/^\/\/ probes\/.*$/gm), ['// probes/detach.bt', '// probes/unmap.bt']);
  assert.match(stderr, /^3 of 3 probes fit this kernel$/m);
  assert.doesNotMatch(stderr, /missing/);
  await assert.rejects(run(probes, { facts: file, only: 'unmap,detached' }), {
    code: 'bad_usage',
    message: 'there is no probe detached',
    remedy: 'did you mean detach?',
  });
});

test('doctor keeps an existing file, and writes no facts that it does not know', async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'facts.json');
  await writeFile(file, 'mine');
  const host = await tracedHost(t);
  await assert.rejects(run(doctor, { 'facts-out': file }, host), {
    code: 'file_unwritable',
    message: 'the file exists and is kept',
    where: file,
    remedy: /name another file/,
  });
  assert.equal(await readFile(file, 'utf8'), 'mine');
  await assert.rejects(run(doctor, { 'facts-out': join(folder, 'none/facts.json') }, host), {
    message: /the facts cannot be written: ENOENT/,
  });
  await rm(join(host.sysRoot ?? '', 'kernel/btf'), { recursive: true });
  const other = join(folder, 'other.json');
  await assert.rejects(run(doctor, { 'facts-out': other }, host), {
    message: /other\.json was not written: the kernel has no BTF/,
    remedy: /CONFIG_DEBUG_INFO_BTF/,
  });
  await assert.rejects(stat(other), { code: 'ENOENT' });
});

test('probes --facts names a file that it cannot read or that is wrong', async (t) => {
  const file = join(await temporaryFolder(t), 'facts.json');
  await assert.rejects(run(probes, { facts: file }), {
    code: 'file_unreadable',
    where: file,
    message: /ENOENT/,
  });
  await writeFile(file, '{}');
  await assert.rejects(run(probes, { facts: file }), { code: 'bad_facts', where: file });
});
