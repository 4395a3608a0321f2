import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { IdentityReporter } from '../../src/collector/identity-reporter.ts';
import { pciAddress } from '../../src/host/pci.ts';
import { PciIds } from '../../src/host/pci-ids.ts';
import type { CollectorLine } from '../../src/protocol/wire.ts';
import { feed } from '../fixtures/feed.ts';
import { DEVICE, eventLine, exported, HEADER, imported, ready, starting } from '../fixtures/stream-lines.ts';
import { type FakeHost, fakeHost } from './fake-host.ts';

const SECOND = 1_000_000;
function qemu(name: string): string[] {
  return ['qemu-system-x86_64', '-name', name];
}

/** An IdentityReporter on a fake /proc and /sys, and a model that applies its lines. The test sets the time. */
async function setUp(t: TestContext) {
  const host: FakeHost = await fakeHost(t);
  const { model, more } = feed([HEADER, starting(SECOND, 1), ready(SECOND)]);
  const lines: CollectorLine[] = [];
  const clock = { now: SECOND };
  const watch = new IdentityReporter({
    procRoot: host.procRoot,
    sysRoot: host.sysRoot,
    bootUs: () => clock.now,
    emit: (line) => {
      lines.push(line);
      more(JSON.stringify(line));
    },
    onOwnerExit: () => {},
    pciIds: new PciIds([]),
  });
  /** Applies an export as the child prints it, and waits until the watch has handled its process. */
  const exports = async (inode: number, pid: number, at: number): Promise<void> => {
    clock.now = at;
    more(exported({ t: at, inode, pid, kvm_pid: pid }));
    watch.seeProcess(pid, true, at);
    await watch.settled();
  };
  const poll = async (at: number): Promise<void> => {
    clock.now = at;
    await watch.poll();
    await watch.settled();
  };
  const named = (inode: number) => {
    const { vm, owner } = model.buffer(inode) ?? {};
    return [vm?.name, owner?.gone];
  };
  const types = () => lines.map((line) => line.type);
  return { host, model, more, watch, lines, types, exports, poll, named, clock };
}

function removeProcess(host: FakeHost, pid: number) {
  return rm(join(host.procRoot, String(pid)), { recursive: true });
}

test('if a process number is reused between two polls, the old buffer keeps its VM and the new buffer gets the new VM', async (t) => {
  const { host, exports, poll, named, types } = await setUp(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  assert.deepEqual(named(9), ['old', false]);
  await host.addProcess(100, 350, qemu('new'));
  await exports(10, 100, 4 * SECOND);
  assert.deepEqual(
    types(),
    ['process', 'exit', 'process'],
    'the exit is reported at the next event that names the number, not at the next poll',
  );
  await poll(5 * SECOND);
  assert.equal(types().length, 3);
  assert.deepEqual(named(9), ['old', true]);
  assert.deepEqual(named(10), ['new', false]);
});

test('calls of a process that reuses a number are assigned to it, also those before it was read', async (t) => {
  const { host, model, more, exports, poll, named } = await setUp(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await host.addProcess(100, 301, qemu('new'));
  // Within the time in which an owner is not read again.
  await exports(10, 100, 3 * SECOND + 50_000);
  more(imported({ t: 3 * SECOND + 60_000, inode: 9, stage: 'attach', importer: 'iommu' }));
  assert.deepEqual(named(10), ['old', false]);
  await poll(5 * SECOND);
  assert.deepEqual(named(9), ['old', true]);
  assert.deepEqual(named(10), ['new', false]);
  assert.equal(model.buffer(9)?.attachments[0]?.by_vm?.name, 'new');
});

test('a process that ends and a later process with its number each keep their own buffer', async (t) => {
  const { host, exports, poll, named } = await setUp(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await removeProcess(host, 100);
  await poll(4 * SECOND);
  await host.addProcess(100, 450, qemu('new'));
  await exports(10, 100, 5 * SECOND);
  assert.deepEqual(named(9), ['old', true]);
  assert.deepEqual(named(10), ['new', false]);
});

test('a process that ended before it was read does not get the name of the process that reuses its number', async (t) => {
  const { host, exports, named, types } = await setUp(t);
  await host.addProcess(100, 350, qemu('stranger'));
  await exports(9, 100, 3 * SECOND);
  assert.deepEqual(types(), ['exit', 'process']);
  assert.deepEqual(named(9), [null, true]);
  await exports(10, 100, 4 * SECOND);
  assert.deepEqual(named(10), ['stranger', false]);
  assert.deepEqual(named(9), [null, true]);
});

test('the exit of a process that ended before it was read is not dated before the event that named it', async (t) => {
  const { more, watch, model, clock, lines } = await setUp(t);
  // The collector's clock is behind the kernel's, and its exit line comes before the event.
  clock.now = 3 * SECOND - 5000;
  watch.seeProcess(100, true, 3 * SECOND - 9000);
  watch.seeProcess(100, true, 3 * SECOND);
  await watch.settled();
  more(
    eventLine('bind', {
      t: 3 * SECOND,
      inode: 9,
      violation: 'accepted_not_vfio',
      vm_pid: 100,
      owner_vm_pid: 0,
      privacy: 'undeclared',
    }),
  );
  assert.deepEqual(lines, [{ type: 'exit', data: { t: 3 * SECOND, pid: 100 } }]);
  const [incident] = model.incidents.all();
  assert.deepEqual([incident?.kind, incident?.closed_by], ['accepted_not_vfio', 'vm_gone']);
});

test('a late event is assigned to the process that had the number at its time', async (t) => {
  const { host, exports, poll, named, more, clock } = await setUp(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await host.addProcess(100, 350, qemu('new'));
  await exports(10, 100, 4 * SECOND);
  await poll(5 * SECOND);
  clock.now = 5 * SECOND;
  more(exported({ t: 3 * SECOND + 1, inode: 11, pid: 100, kvm_pid: 100 }));
  assert.deepEqual(named(11), ['old', true]);
});

test('between the exit of a process and the report of the next one, its number has no name', async (t) => {
  const { host, exports, poll, named, more } = await setUp(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await removeProcess(host, 100);
  await poll(4 * SECOND);
  more(exported({ t: 5 * SECOND, inode: 10, pid: 100, kvm_pid: 100 }));
  assert.deepEqual(named(10), [null, false]);
});

test('if an exit line is lost, the next process with the number ends the old one', async (t) => {
  const { more, named } = await setUp(t);
  const process = (start: number, name: string, at: number) =>
    JSON.stringify({
      type: 'process',
      data: { t: at, pid: 100, start_ticks: start, comm: 'qemu', vmm: 'qemu', name, uuid: null },
    });
  more(process(200, 'old', 3 * SECOND), exported({ t: 3 * SECOND, inode: 9, pid: 100 }));
  more(process(350, 'new', 4 * SECOND));
  assert.deepEqual(named(9), ['old', true]);
  // A late exit line of the first process does not end the second.
  more(exported({ t: 4 * SECOND, inode: 10, pid: 100 }));
  more(JSON.stringify({ type: 'exit', data: { t: 5 * SECOND, pid: 100, start_ticks: 200 } }));
  assert.deepEqual(named(10), ['new', false]);
});

test('a VM that a thread created belongs to the process: its exit is reported, that of the thread is not', async (t) => {
  const { host, model, more, watch, lines, poll, clock } = await setUp(t);
  await host.addProcess(100, 200, qemu('web'));
  await host.addProcess(120, 201, qemu('web'), 100);
  const exports = async (inode: number, at: number): Promise<void> => {
    clock.now = at;
    more(exported({ t: at, inode, pid: 103, kvm_pid: 120 }));
    watch.seeProcess(120, true, at);
    await watch.settled();
  };
  const vm = (inode: number) => [model.buffer(inode)?.vm?.pid, model.buffer(inode)?.vm?.name];
  const reported = () => lines.map(({ type, data }) => [type, 'pid' in data ? data.pid : null]);
  await exports(9, 3 * SECOND);
  const introduced = [
    ['process', 120],
    ['process', 100],
  ];
  assert.deepEqual(reported(), introduced);
  await removeProcess(host, 120);
  await poll(4 * SECOND);
  await exports(10, 5 * SECOND);
  assert.deepEqual(reported(), introduced);
  for (const inode of [9, 10]) assert.deepEqual(vm(inode), [100, 'web']);
  await host.addProcess(120, 550, qemu('other'));
  await poll(6 * SECOND);
  await exports(11, 7 * SECOND);
  assert.deepEqual(reported(), [...introduced, ['process', 120]]);
  await removeProcess(host, 100);
  await poll(8 * SECOND);
  assert.deepEqual(reported().at(-1), ['exit', 100]);
  await removeProcess(host, 120);
  await poll(9 * SECOND);
  assert.deepEqual(reported().at(-1), ['exit', 120], '120 is a separate process now');
});

async function addDevice(host: FakeHost, packed: number, driver: string): Promise<string> {
  const folder = join(host.sysRoot, 'bus/pci/devices', pciAddress(packed));
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'vendor'), '0x10de\n');
  if (driver !== '') await symlink(`../../../drivers/${driver}`, join(folder, 'driver'));
  return folder;
}

test('a device is reported once, its removal is reported once, and it is reported again when it is back', async (t) => {
  const { host, watch, types, poll } = await setUp(t);
  const folder = await addDevice(host, DEVICE, 'vfio-pci');
  watch.seeDevice(DEVICE);
  watch.seeDevice(DEVICE);
  await watch.settled();
  await poll(2 * SECOND);
  assert.deepEqual(types(), ['device']);
  await addDevice(host, DEVICE, '');
  await poll(3 * SECOND);
  await poll(4 * SECOND);
  assert.deepEqual(types(), ['device', 'device', 'device_gone']);
  await addDevice(host, DEVICE, 'nvidia');
  await poll(5 * SECOND);
  assert.equal(types().length, 3, 'another driver does not bring it back');
  await addDevice(host, DEVICE, 'nvgrace_gpu_vfio_pci');
  await poll(6 * SECOND);
  await rm(folder, { recursive: true });
  await poll(7 * SECOND);
  assert.deepEqual(types().slice(3), ['device', 'device_gone']);
  // A VFIO driver that cannot be recognized by its name.
  const odd = await addDevice(host, DEVICE, 'odd');
  await mkdir(join(odd, 'vfio-dev'));
  await poll(8 * SECOND);
  assert.deepEqual(types().slice(5), ['device']);
});

test('an importing device is reported by its address, and its removal only when its sysfs entry is removed', async (t) => {
  const { host, watch, lines, types, poll } = await setUp(t);
  const folder = await addDevice(host, DEVICE, 'mlx5_core');
  await mkdir(join(folder, 'infiniband/mlx5_0'), { recursive: true });
  for (const name of ['iommu', 'kvm', pciAddress(DEVICE), pciAddress(DEVICE)]) watch.seeImporter(name);
  await watch.settled();
  await poll(2 * SECOND);
  assert.deepEqual(
    lines.map((line) => line.type === 'device' && line.data.interfaces),
    [['mlx5_0']],
  );
  await rm(folder, { recursive: true });
  await poll(3 * SECOND);
  assert.deepEqual(types(), ['device', 'device_gone']);
});

test('the number of devices that are followed is limited', async (t) => {
  const host = await fakeHost(t);
  const lines: CollectorLine[] = [];
  const watch = new IdentityReporter({
    procRoot: host.procRoot,
    sysRoot: host.sysRoot,
    bootUs: () => 1,
    emit: (line) => lines.push(line),
    onOwnerExit: () => {},
    pciIds: new PciIds([]),
    limit: 2,
  });
  for (const device of [1, 2]) await addDevice(host, device, 'vfio-pci');
  // One after the other, because two devices that are read at once may be reported in either order.
  for (const device of [1, 2]) {
    watch.seeDevice(device);
    await watch.settled();
  }
  await rm(join(host.sysRoot, 'bus/pci/devices', pciAddress(2)), { recursive: true });
  await watch.poll();
  await addDevice(host, 3, 'vfio-pci');
  watch.seeDevice(3);
  await watch.settled();
  watch.seeDevice(1);
  await watch.settled();
  const reported = lines.map(
    (line) => `${line.type} ${'device' in line.data ? line.data.device.slice(-1) : ''}`,
  );
  assert.deepEqual(
    reported,
    ['device 1', 'device 2', 'device_gone 2', 'device 3'],
    'the removed device does not count towards the limit',
  );
});

test('a new process does not cause a walk over all known processes', async () => {
  const limit = 2000;
  const watch = new IdentityReporter({
    procRoot: '/nowhere',
    sysRoot: '/nowhere',
    bootUs: () => SECOND,
    emit: () => {},
    onOwnerExit: () => {},
    pciIds: new PciIds([]),
    limit,
  });
  for (let pid = 1; pid <= limit; pid += 1) watch.seeProcess(pid, true, SECOND);
  const iterator = Object.getPrototypeOf(new Map().entries());
  const { next } = iterator;
  let steps = 0;
  iterator.next = function (...given: []) {
    steps += 1;
    return next.apply(this, given);
  };
  try {
    for (const _ of new Map([[1, 1]]));
    assert.ok(steps > 0, 'steps over a map are counted');
    for (let pid = 1; pid <= 100; pid += 1) watch.seeProcess(limit + pid, true, SECOND);
  } finally {
    iterator.next = next;
  }
  assert.ok(steps <= 300, String(steps));
  await watch.settled();
});

test('a thousand processes that are named at once are read a few at a time', async (t) => {
  const { host, watch, lines } = await setUp(t);
  for (let pid = 1; pid <= 1000; pid += 1) await host.addProcess(pid, 10, qemu(`vm${pid}`));
  const before = openFiles();
  for (let pid = 1; pid <= 1000; pid += 1) watch.seeProcess(pid, true, SECOND);
  for (let device = 1; device <= 1000; device += 1) watch.seeDevice(device);
  let most = 0;
  const count = setInterval(() => {
    most = Math.max(most, openFiles() - before);
  }, 1);
  await watch.settled();
  clearInterval(count);
  assert.equal(lines.filter(({ type }) => type === 'process').length, 1000);
  assert.ok(most > 0 && most <= 64, `${most} files were open`);
});

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}
