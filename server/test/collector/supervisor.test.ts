import assert from 'node:assert/strict';
import { copyFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import type { FakeHost } from './fake-host.ts';
import { has, live, until } from './live-run.ts';

test('a stream begins with its header and the start of the child, and ends with the exit of the child', async (t) => {
  const run = await live(t, { mode: 'normal' });
  await until(() => run.snapshots().length > 0);
  await run.stop();
  const records = run.records();
  assert.equal(records[0]?.type, 'header');
  const header = records[0]?.type === 'header' ? records[0].data : assert.fail();
  assert.deepEqual([header.tracer, header.kernel], ['1.2.3', '7.3.4']);
  assert.ok(Math.abs((header.boot_epoch_us + header.t) / 1000 - Date.now()) < 60_000);
  const [starting, exited, ...more] = run.children();
  assert.deepEqual(more, []);
  assert.ok(starting?.state === 'starting' && starting.generation === 1);
  assert.deepEqual([starting.bpftrace, starting.dialect], ['0.23.2', 'mainline']);
  assert.deepEqual(
    starting.probes.map((probe) => [probe.probe, probe.module, probe.attached]),
    [
      ['attach', 'vfio_pci_core', true],
      ['export', 'vfio_pci_core', true],
      ['extra', null, false],
    ],
  );
  assert.ok(exited?.state === 'exited' && exited.reason === 'stopped');
  assert.ok(!has(run, 'loss'));
  const count = run.lines.length;
  await wait(60);
  assert.equal(run.lines.length, count);
});

test('at the start, a snapshot reports each live buffer with its device and the process of its VM', async (t) => {
  const run = await live(t, {
    mode: 'normal',
    argument: '77',
    prepare: (host) => host.addProcess(77, 5, ['qemu-system-x86_64', '-name', 'guest=web']),
  });
  await until(() => run.snapshots().length > 0);
  const [snapshot] = run.snapshots();
  assert.ok(snapshot?.cause === 'start' && snapshot.complete);
  assert.ok(snapshot.t_begin <= snapshot.t_end);
  assert.deepEqual(
    snapshot.buffers.map(({ inode, device, kvm_pid, privacy }) => ({ inode, device, kvm_pid, privacy })),
    [{ inode: 7, device: 0x4100, kvm_pid: 77, privacy: 0 }],
  );
  const process = run.records().find((record) => record.type === 'process');
  assert.ok(process?.type === 'process' && process.data.name === 'web' && process.data.vmm === 'qemu');
});

test('a child that keeps crashing is restarted after pauses that grow up to a limit', async (t) => {
  const pauses: number[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => {
      if (ms >= 1000 && ms <= 16_000) pauses.push(ms);
      return systemClock.sleep(ms > 1000 ? 1 : Math.min(ms, 20), signal);
    },
  };
  const run = await live(t, { mode: 'crash', clock, timing: { restartMs: 1000, restartMaxMs: 6000 } });
  await until(() => pauses.length >= 5);
  await run.stop();
  assert.deepEqual(pauses.slice(0, 5), [1000, 2000, 4000, 6000, 6000]);
  const started = run.children().filter((child) => child.state === 'starting');
  assert.deepEqual(
    started.map((child) => child.generation),
    started.map((_, index) => index + 1),
  );
  assert.ok(run.children().some((child) => child.state === 'exited' && child.reason === 'crashed'));
  assert.ok(has(run, 'tick'));
});

test('after a child was stable, the next pause is the shortest one again', async (t) => {
  const pauses: number[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => {
      if (ms >= 1000 && ms <= 16_000) pauses.push(ms);
      return systemClock.sleep(Math.min(ms, 20), signal);
    },
  };
  await live(t, { mode: 'crash', clock, timing: { restartMs: 1000, restartMaxMs: 6000, stableMs: 0 } });
  await until(() => pauses.length >= 3);
  assert.deepEqual(pauses.slice(0, 3), [1000, 1000, 1000]);
});

test('a child that stops printing is replaced', async (t) => {
  const run = await live(t, { mode: 'hung', timing: { silenceMs: 200 } });
  await until(() => run.children().some((child) => child.generation === 2));
  const exited = run.children().find((child) => child.state === 'exited');
  assert.ok(exited?.state === 'exited' && exited.reason === 'hung');
});

test('stop ends a child that ignores SIGINT', async (t) => {
  const run = await live(t, { mode: 'stubborn' });
  await until(() => has(run, 'heartbeat'));
  await run.stop();
  const last = run.children().at(-1);
  assert.ok(last?.state === 'exited' && last.reason === 'stopped');
});

test('a probe that bpftrace rejects is left out, and the other probes are attached', async (t) => {
  const run = await live(t, { mode: 'reject', argument: '{ export }' });
  await until(() => has(run, 'heartbeat'));
  const [first, rejected, second] = run.children();
  assert.ok(first?.state === 'starting' && first.probes[1]?.attached === true);
  assert.ok(rejected?.state === 'exited' && rejected.reason === 'compile_error');
  assert.ok(second?.state === 'starting');
  assert.match(
    second.probes[1]?.reason ?? '',
    /^bpftrace rejected this probe, retry within 10 min: .*Undefined map/,
  );
  assert.deepEqual([second.probes[0]?.attached, second.probes[1]?.attached], [true, false]);
  assert.equal(
    run.snapshots().every((snapshot) => snapshot.cause === 'start'),
    true,
  );
});

test('a host that cannot be traced is reported once, and ticks follow until it can be traced', async (t) => {
  const run = await live(t, {
    mode: 'normal',
    prepare: async (host) => {
      await rm(join(host.sysRoot, 'kernel/btf/vfio_pci_core'));
    },
  });
  await until(() => run.records().filter((record) => record.type === 'tick').length > 5);
  const [unavailable, ...more] = run.children();
  assert.deepEqual(more, []);
  assert.ok(unavailable?.state === 'unavailable' && unavailable.reason === 'no_symbols');
  assert.equal(unavailable.dialect, 'core');
  assert.ok(unavailable.probes.every((probe) => !probe.attached));
  await run.host.loadModule('vfio_pci_core', ['vfio_pci_dma_buf_attach', 'vfio_pci_core_feature_dma_buf']);
  await until(() => has(run, 'heartbeat'));
});

test('each obstacle to tracing has its reason', async (t) => {
  for (const [setup, reason] of [
    [{ mode: 'none' }, 'no_bpftrace'],
    [{ mode: 'version', argument: '0.22.1' }, 'unsupported_bpftrace'],
    [{ mode: 'normal', uid: 1000 }, 'not_root'],
  ] as const) {
    const run = await live(t, setup);
    await until(() => run.children().length > 0);
    const [child] = run.children();
    assert.ok(child?.state === 'unavailable' && child.reason === reason, reason);
    await run.stop();
  }
});

/** Reloads a module between two checks; returns the time, in microseconds since boot. */
async function reloadModule(host: FakeHost, name: string): Promise<number> {
  const module = join(host.sysRoot, 'kernel/btf', name);
  const again = join(host.sysRoot, name);
  await copyFile(module, again);
  const t = systemClock.bootUs();
  await rename(again, module);
  return t;
}

/** A run that checks the modules often, and can wait for such a check. */
async function withModuleChecks(t: TestContext, prepare?: (host: FakeHost) => Promise<void>) {
  const modulesMs = 300;
  let pauses = 0;
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => {
      if (ms === modulesMs) pauses++;
      return systemClock.sleep(ms, signal);
    },
  };
  const run = await live(t, { mode: 'normal', timing: { modulesMs }, clock, ...(prepare && { prepare }) });
  await until(() => has(run, 'heartbeat'));
  const began = systemClock.bootUs();
  const before = pauses;
  // The first pause may follow a check from before. The second one follows a complete check.
  await until(() => pauses >= before + 2);
  return { run, began };
}

function assertBetween(earliest: number, t: number | undefined, latest: number): void {
  assert.ok(t !== undefined && earliest < t && t <= latest, `${earliest} < ${t} <= ${latest}`);
}

test('the probes of a reloaded module are attached again, although the program is the same', async (t) => {
  const { run, began } = await withModuleChecks(t);
  const reloaded = await reloadModule(run.host, 'vfio_pci_core');
  await until(() => run.children().length >= 3);
  const [, exited, second] = run.children();
  assert.ok(exited?.state === 'exited' && exited.message === 'the loaded modules have changed');
  assertBetween(began, exited.blind_since, reloaded);
  assert.ok(second?.state === 'starting' && second.generation === 2);
});

test('the probes of another reloaded module are reported as blind since the check before', async (t) => {
  const { run, began } = await withModuleChecks(t, (host) => host.loadModule('extra', ['extra_function']));
  const reloaded = await reloadModule(run.host, 'extra');
  await until(() => run.children().length >= 4);
  const [, changed, exited, second] = run.children();
  assert.ok(changed?.state === 'changed' && changed.generation === 1);
  assert.deepEqual(changed.blind, ['extra']);
  assertBetween(began, changed.blind_since, reloaded);
  assert.deepEqual(
    changed.probes.map(({ attached }) => attached),
    [true, true, false],
  );
  assert.ok(exited?.state === 'exited');
  assert.equal(exited.blind_since, undefined);
  assert.ok(second?.state === 'starting' && second.probes[2]?.attached === true);
});

test('no probe of an unloaded module is blind, because its functions cannot be called', async (t) => {
  const run = await live(t, {
    mode: 'normal',
    prepare: (host) => host.loadModule('extra', ['extra_function']),
  });
  await until(() => has(run, 'heartbeat'));
  await rm(join(run.host.sysRoot, 'kernel/btf/extra'));
  await until(() => run.children().length >= 4);
  const [, changed, exited] = run.children();
  assert.ok(changed?.state === 'changed');
  assert.deepEqual([changed.blind, changed.blind_since], [undefined, undefined]);
  assert.match(changed.probes[2]?.reason ?? '', /^its module was unloaded/);
  assert.ok(exited?.state === 'exited');
  assert.equal(exited.blind_since, undefined);
});

test('a loaded module without a probe does not restart the child', async (t) => {
  const run = await live(t, { mode: 'normal' });
  await until(() => has(run, 'heartbeat'));
  await run.host.loadModule('unrelated', ['something']);
  await wait(200);
  assert.equal(run.children().length, 1);
});

test('a loaded module with a probe starts a new program, and the probe is reported as blind until then', async (t) => {
  const { run, began } = await withModuleChecks(t);
  const loaded = systemClock.bootUs();
  await run.host.loadModule('extra', ['extra_function']);
  await until(() => run.children().length >= 4);
  const [, changed, exited, second] = run.children();
  assert.ok(changed?.state === 'changed');
  assertBetween(began, changed.blind_since, loaded);
  assert.deepEqual(changed.blind, ['extra']);
  assert.match(changed.probes[2]?.reason ?? '', /^its module was loaded/);
  assert.ok(exited?.state === 'exited' && exited.message.startsWith('the loaded modules have changed'));
  assert.ok(second?.state === 'starting' && second.probes[2]?.attached === true);
});

function loadGate(host: FakeHost): Promise<void> {
  return host.loadModule(
    'gate',
    [],
    ['task_struct.sched_info', 'sched_info.last_arrival', 'task_struct.timer_slack_ns'],
  );
}

// Both wait for the cut as long as in production, so they run at the same time.
describe('a handover', { concurrency: true }, () => {
  test('the old program hands over to the new one: each event is reported once, in order, without a blind period', async (t) => {
    const run = await live(t, {
      mode: 'gated',
      prepare: loadGate,
    });
    await until(() => run.records().filter(({ type }) => type === 'export').length > 5);
    await run.host.loadModule('extra', ['extra_function']);
    await until(() => run.children().length >= 4);
    const [, changed, exited, second] = run.children();
    assert.deepEqual(changed?.state === 'changed' && changed.blind, ['extra']);
    assert.ok(exited?.state === 'exited' && exited.reason === 'handed_over');
    assert.ok(second?.state === 'starting' && second.generation === 2 && second.probes[2]?.attached === true);
    const before = run.records().length;
    await until(
      () =>
        run
          .records()
          .slice(before)
          .filter(({ type }) => type === 'export').length > 5,
    );
    const beats = run.records().flatMap((record) => (record.type === 'export' ? [record.data.inode] : []));
    assert.deepEqual(
      beats,
      beats.map((_, index) => (beats[0] ?? 0) + index),
    );
    const ready = run.records().findIndex(({ type }) => type === 'ready');
    const tracing = run.records().slice(ready);
    assert.deepEqual(
      tracing.filter(({ type }) => type === 'gate' || type === 'tick' || type === 'loss'),
      [],
    );
  });

  test('a processor that does not give way at a handover is reported as a loss', async (t) => {
    const run = await live(t, {
      mode: 'gated',
      prepare: async (host) => {
        await loadGate(host);
        await writeFile(join(host.sysRoot, 'devices/system/cpu/online'), '0,100000\n');
      },
    });
    await until(() => has(run, 'export'));
    await run.host.loadModule('extra', ['extra_function']);
    await until(() => has(run, 'loss'));
    const losses = run.records().flatMap((record) => (record.type === 'loss' ? [record.data] : []));
    assert.deepEqual(
      losses.map(({ stage, count }) => [stage, count]),
      [['handover', 1]],
    );
  });
});

test('if a program cannot get a gate command, the old one is stopped and the new one is started', async (t) => {
  const run = await live(t, {
    mode: 'normal',
    prepare: loadGate,
  });
  await until(() => has(run, 'heartbeat'));
  await run.host.loadModule('extra', ['extra_function']);
  await until(() => run.children().length >= 4);
  const [, , exited, second] = run.children();
  assert.ok(exited?.state === 'exited' && exited.reason === 'stopped');
  assert.match(exited.message, /no handover: the new program did not print its clock/);
  assert.ok(second?.state === 'starting' && second.probes[2]?.attached === true);
});

test('an event identifies its process, and the exit of an owner is reported and followed by a snapshot', async (t) => {
  const run = await live(t, {
    mode: 'events',
    argument: '55',
    prepare: (host) => host.addProcess(55, 9, ['qemu-kvm', '-name', 'db']),
  });
  await until(() => has(run, 'process') && run.snapshots().length > 0);
  await rm(join(run.host.procRoot, '55'), { recursive: true });
  await until(() => run.snapshots().some((snapshot) => snapshot.cause === 'owner_exit'));
  const exits = run.records().filter((record) => record.type === 'exit');
  assert.deepEqual(
    exits.map((record) => record.data.pid),
    [55],
  );
  await wait(100);
  assert.equal(run.snapshots().filter((snapshot) => snapshot.cause === 'owner_exit').length, 1);
});

test('the exit of an owner that has released all its buffers does not request a snapshot', async (t) => {
  const run = await live(t, {
    mode: 'released',
    argument: '55',
    prepare: (host) => host.addProcess(55, 9, ['qemu-kvm', '-name', 'db']),
  });
  await until(() => has(run, 'process') && run.snapshots().length > 0);
  await rm(join(run.host.procRoot, '55'), { recursive: true });
  await until(() => has(run, 'exit'));
  await wait(100);
  assert.deepEqual(
    run.snapshots().map(({ cause }) => cause),
    ['start'],
  );
});

test('emitted events that did not arrive request one snapshot', async (t) => {
  const lose = join(await temporaryFolder(t), 'lose');
  const run = await live(t, { mode: 'lossy', argument: lose });
  // A snapshot that starts after the loss satisfies it too, whatever its cause.
  await until(() => run.snapshots().some((snapshot) => snapshot.cause === 'start'));
  await writeFile(lose, '');
  await until(() => run.snapshots().some((snapshot) => snapshot.cause === 'loss'));
  await wait(100);
  assert.equal(run.snapshots().filter((snapshot) => snapshot.cause === 'loss').length, 1);
});

test('a line that is too long is reported as a loss', async (t) => {
  const run = await live(t, { mode: 'long-line' });
  await until(() => has(run, 'loss'));
  const losses = run.records().filter((record) => record.type === 'loss');
  assert.deepEqual(
    losses.map((record) => [record.data.stage, record.data.count]),
    [['splitter', 1]],
  );
});
