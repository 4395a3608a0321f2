import assert from 'node:assert/strict';
import {
  copyFile,
  link,
  lstat,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inspectHost } from '../../src/bpftrace/facts.ts';
import { HostErrors } from '../../src/collector/host-errors.ts';
import { IdentityReporter } from '../../src/collector/identity-reporter.ts';
import { createBootClock } from '../../src/host/boot-clock.ts';
import { readProcess } from '../../src/host/identity.ts';
import { LoadedModules } from '../../src/host/loaded-modules.ts';
import { PciIds } from '../../src/host/pci-ids.ts';
import { countRecursionMisses, findHolders, readStat } from '../../src/host/proc.ts';
import { quiesceCpus, tryTaskset } from '../../src/host/processors.ts';
import { inspectSurroundings } from '../../src/host/surroundings.ts';
import { isAbsent } from '../../src/lib/errno.ts';
import type { CollectorLine, HostSource } from '../../src/protocol/wire.ts';
import { eventually } from '../fixtures/eventually.ts';
import { fakeBpftrace, temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { fakeHost } from './fake-host.ts';
import { has, live } from './live-run.ts';

/**
 * Makes each read of the path fail with ELOOP, until the returned function is called. Like EMFILE, the error does not show whether
 * the path exists. A file or a link is replaced atomically; a folder is missing for a moment.
 */
async function breakPath(path: string): Promise<() => Promise<void>> {
  const away = `${path}.away`;
  const loop = `${path}.loop`;
  await mkdir(dirname(path), { recursive: true });
  await symlink(path, loop);
  const what = await lstat(path).catch((error: unknown) => {
    assert.ok(isAbsent(error));
    return null;
  });
  if (what?.isFile()) await link(path, away);
  else if (what?.isSymbolicLink()) await symlink(await readlink(path), away);
  else if (what !== null) await rename(path, away);
  await rename(loop, path);
  return async () => {
    if (what === null || what.isDirectory()) await rm(path);
    if (what !== null) await rename(away, path);
  };
}

function errorLog(source: HostSource) {
  const errors = new HostErrors();
  const lines: CollectorLine[] = [];
  const sources = (): HostSource[] => {
    errors.report(1, (line) => lines.push(line));
    return lines.flatMap((line) => (line.type === 'host_error' ? [line.data.source] : []));
  };
  return { errors, onError: errors.of(source), lines, sources };
}

test('a list of modules that cannot be read is not a change', async (t) => {
  const host = await fakeHost(t);
  const { onError, sources } = errorLog('modules');
  let now = 10;
  const watch = new LoadedModules(host.sysRoot, { bootUs: () => now, onError });
  await watch.check();
  const folder = join(host.sysRoot, 'kernel/btf');
  const repair = await breakPath(folder);
  now = 20;
  assert.deepEqual(await watch.check(), { changed: new Set(), since: 10 });
  assert.deepEqual(sources(), ['modules']);
  await repair();
  const repairOne = await breakPath(join(folder, 'vfio_pci_core'));
  assert.equal((await watch.check()).changed.size, 0, 'one of its files cannot be read');
  await repairOne();
  await host.loadModule('extra', ['extra_function']);
  now = 30;
  assert.deepEqual(
    await watch.check(),
    { changed: new Set(['extra']), since: 10 },
    'since the last successful check',
  );
  await rm(join(folder, 'extra'));
  now = 40;
  assert.deepEqual(await watch.check(), { changed: new Set(['extra']), since: 30 });
});

interface Setup {
  watch: IdentityReporter;
  lines: CollectorLine[];
  types: () => string[];
  sources: () => HostSource[];
}

function setUp(t: TestContext, host: { procRoot: string; sysRoot: string }, pciIds = new PciIds([])): Setup {
  const { errors, sources } = errorLog('process');
  const lines: CollectorLine[] = [];
  const watch = new IdentityReporter({
    ...host,
    bootUs: () => 9_000_000,
    emit: (line) => lines.push(line),
    onOwnerExit: () => {},
    errors,
    pciIds,
  });
  t.after(() => watch.settled());
  return { watch, lines, types: () => lines.map(({ type }) => type), sources };
}

test('a process whose files cannot be read is not reported as ended', async (t) => {
  const host = await fakeHost(t);
  await host.addProcess(100, 200, ['qemu-system-x86_64', '-name', 'web']);
  const { watch, types, sources } = setUp(t, host);
  watch.seeProcess(100, true, 8_000_000);
  await watch.settled();
  const repair = await breakPath(join(host.procRoot, '100/stat'));
  await assert.rejects(readStat(host.procRoot, 100), { code: 'ELOOP' });
  await watch.poll();
  watch.seeProcess(100, true, 8_500_000);
  await watch.settled();
  assert.deepEqual(types(), ['process']);
  assert.deepEqual(sources(), ['process']);
  await repair();
  await watch.poll();
  assert.deepEqual(types(), ['process']);
  await rm(join(host.procRoot, '100'), { recursive: true });
  await watch.poll();
  assert.deepEqual(types(), ['process', 'exit'], 'a missing folder is an exit');
});

for (const file of ['stat', 'cmdline', 'cgroup', 'status']) {
  test(`a process whose ${file} cannot be read at first is identified at a later poll`, async (t) => {
    const host = await fakeHost(t);
    await host.addProcess(100, 200, ['qemu-system-x86_64', '-name', 'web']);
    const { watch, lines, types, sources } = setUp(t, host);
    const repair = await breakPath(join(host.procRoot, '100', file));
    await assert.rejects(readProcess(host.procRoot, 100), { code: 'ELOOP' });
    watch.seeProcess(100, true, 8_000_000);
    await watch.settled();
    await watch.poll();
    assert.deepEqual(types(), []);
    assert.deepEqual(sources(), ['process']);
    await repair();
    await watch.poll();
    await watch.settled();
    const [process] = lines;
    assert.ok(process?.type === 'process' && process.data.name === 'web');
  });
}

test('a device whose sysfs entry cannot be read is not reported as removed, and is described later', async (t) => {
  const host = await fakeHost(t);
  const folder = join(host.sysRoot, 'bus/pci/devices/0000:41:00.0');
  await mkdir(join(folder, 'vfio-dev'), { recursive: true });
  await writeFile(join(folder, 'vendor'), '0x10de\n');
  await symlink('../../drivers/vfio-pci', join(folder, 'driver'));
  const ids = join(host.sysRoot, 'pci.ids');
  await writeFile(ids, '10de  NVIDIA Corporation\n');
  const { watch, lines, types, sources } = setUp(t, host, new PciIds([ids]));
  for (const path of [folder, join(folder, 'vendor'), join(folder, 'class'), ids]) {
    const repair = await breakPath(path);
    watch.seeDevice(0x4100);
    await watch.settled();
    await watch.poll();
    assert.deepEqual(types(), [], path);
    await repair();
  }
  assert.deepEqual([...new Set(sources())], ['device']);
  await watch.poll();
  const [device] = lines;
  assert.ok(device?.type === 'device' && device.data.driver === 'vfio-pci');
  assert.equal(device.data.vendor_name, 'NVIDIA Corporation');
  const repair = await breakPath(folder);
  await watch.poll();
  await repair();
  await watch.poll();
  assert.deepEqual(types(), ['device']);
  // After a restart of the child, the facts are read again; the poll reads them if the event could not.
  watch.invalidateDevices();
  const repairVendor = await breakPath(join(folder, 'vendor'));
  watch.seeDevice(0x4100);
  await watch.settled();
  await repairVendor();
  await watch.poll();
  assert.deepEqual(types(), ['device', 'device']);
  await rm(folder, { recursive: true });
  await watch.poll();
  assert.deepEqual(types(), ['device', 'device', 'device_gone']);
});

test('the clock continues if the uptime cannot be read, also at the start', async (t) => {
  const host = await fakeHost(t);
  const path = join(host.procRoot, 'uptime');
  let mono = 1_000_000;
  const monotonicUs = () => {
    mono += 1000;
    return mono;
  };
  const { onError, sources } = errorLog('clock');
  const clock = createBootClock({ procRoot: host.procRoot, monotonicUs, onError });
  const before = clock();
  const repair = await breakPath(path);
  mono += 5_000_000;
  const later = clock();
  assert.ok(later - before >= 5_000_000 && later - before < 5_100_000, `${later - before}`);
  assert.deepEqual(sources(), ['clock']);
  const { uptime } = await import('node:os');
  const fresh = createBootClock({ procRoot: host.procRoot, monotonicUs })() / 1e6;
  assert.ok(Math.abs(fresh - uptime()) < 60, `${fresh} of ${uptime()}`);
  await repair();
});

test('a list of holders with a failed read is incomplete', async (t) => {
  const host = await fakeHost(t);
  const { signal } = new AbortController();
  const folder = join(host.procRoot, '100');
  await host.addProcess(100, 200);
  await mkdir(join(folder, 'fd'));
  await mkdir(join(folder, 'fdinfo'));
  await symlink('/dmabuf:', join(folder, 'fd/3'));
  await writeFile(join(folder, 'fdinfo/3'), 'ino:\t42\nsize:\t4096\nexp_name:\tvfio_pci_core\n');
  const { onError, sources } = errorLog('holders');
  const find = () => findHolders({ procRoot: host.procRoot, exporter: 'vfio_pci_core', signal, onError });
  assert.deepEqual((await find()).errors, []);
  for (const name of ['fd', 'fdinfo/3', 'stat']) {
    const repair = await breakPath(join(folder, name));
    const { errors } = await find();
    assert.match(errors.join(), /1 reads of open files failed, the first with ELOOP: /, name);
    await repair();
  }
  assert.deepEqual(sources(), ['holders']);
  await rm(folder, { recursive: true });
  await host.addProcess(101, 200);
  assert.deepEqual((await find()).errors, [], 'a process that has ended is not an error');
});

test('skipped runs that cannot be read are unknown, not 0', async (t) => {
  const host = await fakeHost(t);
  const file = join(host.procRoot, '9/fdinfo/3');
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, 'prog_id:\t1\nrecursion_misses:\t4\n');
  const { onError, sources } = errorLog('probe_misses');
  assert.equal(await countRecursionMisses(host.procRoot, 9, onError), 4);
  await breakPath(file);
  assert.equal(await countRecursionMisses(host.procRoot, 9, onError), null);
  assert.deepEqual(sources(), ['probe_misses']);
  assert.equal(await countRecursionMisses(host.procRoot, 8, onError), null);
  assert.deepEqual(sources(), ['probe_misses'], 'a process that has ended is not an error');
});

test('processors that cannot be listed or visited are reported with the cause', async (t) => {
  const host = await fakeHost(t);
  const { onError, lines, sources } = errorLog('processors');
  assert.equal(await quiesceCpus(host.sysRoot, { searchPath: '', onError }), 1);
  await breakPath(join(host.sysRoot, 'devices/system/cpu/online'));
  assert.equal(await quiesceCpus(host.sysRoot, { onError }), cpus().length);
  assert.deepEqual(sources(), ['processors']);
  assert.deepEqual(
    lines.map((line) => line.type === 'host_error' && line.data.count),
    [2],
  );
  assert.equal(await tryTaskset(process.env.PATH ?? ''), null);
  assert.match((await tryTaskset('')) ?? '', /ENOENT/);
});

test('facts of the host that cannot be read are errors, and do not count as absent', async (t) => {
  const host = await fakeHost(t);
  const { procRoot, sysRoot, etcRoot } = host;
  const bpftrace = await fakeBpftrace(t, 'normal');
  const inspect = () =>
    inspectHost({
      wanted: { functions: ['dma_buf_export'], members: [] },
      bpftrace,
      procRoot,
      sysRoot,
      etcRoot,
      uid: 0,
    });
  assert.equal((await inspect()).errors, undefined);
  for (const path of [
    join(sysRoot, 'kernel/btf'),
    join(sysRoot, 'kernel/btf/vmlinux'),
    join(sysRoot, 'kernel/btf/vfio_pci_core'),
    join(sysRoot, 'kernel/tracing/available_filter_functions'),
    join(sysRoot, 'kernel/security/lockdown'),
    join(procRoot, 'sys/kernel/osrelease'),
    join(procRoot, 'self/status'),
  ]) {
    const repair = await breakPath(path);
    const { errors } = await inspect();
    assert.match(errors?.[0] ?? '', /^ELOOP: /, path);
    await repair();
  }
  assert.equal((await inspect()).errors, undefined);
});

test('a path that the doctor cannot read is an error, and does not count as absent', async (t) => {
  const { procRoot, sysRoot, etcRoot } = await fakeHost(t);
  const inspect = () => inspectSurroundings({ procRoot, sysRoot, etcRoot });
  assert.deepEqual((await inspect()).errors, []);
  for (const path of [
    join(sysRoot, 'module/vfio_pci_core'),
    join(sysRoot, 'bus/pci/devices'),
    join(procRoot, 'self/ns'),
    join(procRoot, 'self/timens_offsets'),
    join(procRoot, 'meminfo'),
  ]) {
    const repair = await breakPath(path);
    assert.match((await inspect()).errors[0] ?? '', /^ELOOP: /, path);
    await repair();
  }
});

test('while /sys and /proc cannot be read, bpftrace continues and no exit is reported', async (t) => {
  const run = await live(t, {
    mode: 'events',
    argument: '55',
    prepare: async (host) => {
      await host.addProcess(55, 9, ['qemu-kvm', '-name', 'db']);
      await rename(join(host.sysRoot, 'kernel/btf'), join(host.sysRoot, 'kernel/btf.real'));
      await symlink('btf.real', join(host.sysRoot, 'kernel/btf'));
    },
  });
  await eventually(() => assert.ok(has(run, 'process') && has(run, 'snapshot')));
  const { host } = run;
  const failing = [join(host.sysRoot, 'kernel/btf'), join(host.procRoot, '55/stat')];
  const repair = await Promise.all(failing.map(breakPath));
  const reported = (source: HostSource) =>
    run
      .records()
      .some(
        (record) => record.type === 'host_error' && record.data.source === source && record.data.count > 2,
      );
  await eventually(() => assert.ok(reported('modules') && reported('process')));
  assert.equal(run.children().length, 1);
  assert.ok(!has(run, 'exit'));
  for (const back of repair) await back();
  await host.loadModule('extra', ['extra_function']);
  await eventually(() => assert.ok(run.children().length >= 4, 'a real change is still detected'));
  assert.ok(!has(run, 'exit'));
});

test('a change of modules that is detected while the host cannot be read is applied later', async (t) => {
  const run = await live(t, { mode: 'normal' });
  await eventually(() => assert.ok(has(run, 'heartbeat')));
  const { host } = run;
  const repair = await breakPath(join(host.sysRoot, 'kernel/tracing/available_filter_functions'));
  const module = join(host.sysRoot, 'kernel/btf/vfio_pci_core');
  await copyFile(module, join(host.sysRoot, 'again'));
  await rename(join(host.sysRoot, 'again'), module);
  await eventually(() =>
    assert.ok(run.records().some((record) => record.type === 'host_error' && record.data.source === 'facts')),
  );
  assert.equal(run.children().length, 1);
  await repair();
  await eventually(() => assert.ok(run.children().length >= 3));
  const exited = run.children()[1];
  assert.ok(exited?.state === 'exited' && exited.message === 'the loaded modules have changed');
  assert.ok((await readFile(module)).length > 0);
});

test('a change of modules that is detected before a restart with old facts is applied after it', async (t) => {
  const file = join(await temporaryFolder(t), 'pid');
  const types = (root: string) => [join(root, 'extra.btf'), join(root, 'kernel/btf/extra')] as const;
  const run = await live(t, {
    mode: 'pid',
    argument: file,
    prepare: async (host) => {
      await host.loadModule('extra', ['extra_function']);
      const [away, there] = types(host.sysRoot);
      await rename(there, away);
    },
  });
  await eventually(() => assert.ok(has(run, 'heartbeat')));
  const { host } = run;
  const failed = () =>
    run.records().filter((record) => record.type === 'host_error' && record.data.source === 'facts').length;
  const repair = await breakPath(join(host.sysRoot, 'kernel/tracing/available_filter_functions'));
  await rename(...types(host.sysRoot));
  await eventually(() => assert.ok(failed() > 0));
  const pid = await readFile(file, 'utf8');
  await rm(file);
  process.kill(Number(pid), 'SIGKILL');
  await eventually(async () => assert.notEqual(await readFile(file, 'utf8'), ''));
  const program = () => run.children().findLast(({ state }) => state === 'starting');
  const old = program();
  assert.ok(old?.state === 'starting' && old.generation === 2 && old.probes[2]?.attached === false);
  await repair();
  await eventually(() => {
    const next = program();
    assert.ok(next?.state === 'starting' && next.probes[2]?.attached === true);
  });
});
