import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { IdentityWatch } from '../../../src/collector/host/identity-watch.ts';
import { pciAddress } from '../../../src/collector/host/pci.ts';
import { PciIds } from '../../../src/collector/host/pci-ids.ts';
import type { CollectorLine } from '../../../src/stream/wire.ts';
import { feed } from '../../fixtures/feed.ts';
import {
  DEVICE,
  exported,
  HEADER,
  imported,
  ready,
  starting,
  tupleLine,
} from '../../fixtures/stream-lines.ts';
import { type FakeHost, fakeHost } from '../fake-host.ts';

const SECOND = 1_000_000;
const qemu = (name: string): string[] => ['qemu-system-x86_64', '-name', name];

/** A collector's watch on a /proc and a /sys of files, and a model that reads its lines; the time is what the test says. */
async function watched(t: TestContext) {
  const host: FakeHost = await fakeHost(t);
  const { model, more } = feed([HEADER, starting(SECOND, 1), ready(SECOND)]);
  const lines: CollectorLine[] = [];
  const clock = { now: SECOND };
  const watch = new IdentityWatch({
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
  /** An export as the child prints it, and what the collector makes of the line. */
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

const gone = (host: FakeHost, pid: number) => rm(join(host.procRoot, String(pid)), { recursive: true });

test('a number that passes on while nobody looks: the old buffer keeps its VM, the new one gets its own', async (t) => {
  const { host, exports, poll, named, types } = await watched(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  assert.deepEqual(named(9), ['old', false]);
  await host.addProcess(100, 350, qemu('new'));
  await exports(10, 100, 4 * SECOND);
  assert.deepEqual(
    types(),
    ['process', 'exit', 'process'],
    'at the next event that names it, not at the next poll',
  );
  await poll(5 * SECOND);
  assert.equal(types().length, 3);
  assert.deepEqual(named(9), ['old', true]);
  assert.deepEqual(named(10), ['new', false]);
});

test('what the next process did before it was looked at is given to it', async (t) => {
  const { host, model, more, exports, poll, named } = await watched(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await host.addProcess(100, 301, qemu('new'));
  // Within the time in which an owner is not looked at again.
  await exports(10, 100, 3 * SECOND + 50_000);
  more(imported({ t: 3 * SECOND + 60_000, inode: 9, stage: 1, importer: 'iommu' }));
  assert.deepEqual(named(10), ['old', false]);
  await poll(5 * SECOND);
  assert.deepEqual(named(9), ['old', true]);
  assert.deepEqual(named(10), ['new', false]);
  assert.equal(model.buffer(9)?.attachments[0]?.by_vm?.name, 'new');
});

test('a process that ends and one that takes its number between two looks, each seen', async (t) => {
  const { host, exports, poll, named } = await watched(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await gone(host, 100);
  await poll(4 * SECOND);
  await host.addProcess(100, 450, qemu('new'));
  await exports(10, 100, 5 * SECOND);
  assert.deepEqual(named(9), ['old', true]);
  assert.deepEqual(named(10), ['new', false]);
});

test('who has ended before it could be read is not named after the one that has its number', async (t) => {
  const { host, exports, named, types } = await watched(t);
  await host.addProcess(100, 350, qemu('stranger'));
  await exports(9, 100, 3 * SECOND);
  assert.deepEqual(types(), ['exit', 'process']);
  assert.deepEqual(named(9), [null, true]);
  await exports(10, 100, 4 * SECOND);
  assert.deepEqual(named(10), ['stranger', false]);
  assert.deepEqual(named(9), [null, true]);
});

test('a process that was gone before it could be read has not ended before the event that named it', async (t) => {
  const { more, watch, model, clock, lines } = await watched(t);
  // The collector's clock is behind the kernel's, and its line of the end comes before the event's.
  clock.now = 3 * SECOND - 5000;
  watch.seeProcess(100, true, 3 * SECOND - 9000);
  watch.seeProcess(100, true, 3 * SECOND);
  await watch.settled();
  more(tupleLine('bind', 3 * SECOND, 10, 100, DEVICE, 9, 0, 0, 2, 100, 0, 4096, 4096, 0, 'qemu'));
  assert.deepEqual(lines, [{ type: 'exit', data: { t: 3 * SECOND, pid: 100 } }]);
  const [incident] = model.incidents();
  assert.deepEqual([incident?.kind, incident?.closed_by], ['accepted_not_vfio', 'vm_gone']);
});

test('an event that comes late is of the process that had the number then', async (t) => {
  const { host, exports, poll, named, more, clock } = await watched(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await host.addProcess(100, 350, qemu('new'));
  await exports(10, 100, 4 * SECOND);
  await poll(5 * SECOND);
  clock.now = 5 * SECOND;
  more(exported({ t: 3 * SECOND + 1, inode: 11, pid: 100, kvm_pid: 100 }));
  assert.deepEqual(named(11), ['old', true]);
});

test('after the end of a process and before the next is known its number has no name', async (t) => {
  const { host, exports, poll, named, more } = await watched(t);
  await host.addProcess(100, 200, qemu('old'));
  await exports(9, 100, 3 * SECOND);
  await gone(host, 100);
  await poll(4 * SECOND);
  more(exported({ t: 5 * SECOND, inode: 10, pid: 100, kvm_pid: 100 }));
  assert.deepEqual(named(10), [null, false]);
});

test('a lost line of an end: the next process with the number says it', async (t) => {
  const { more, named } = await watched(t);
  const process = (start: number, name: string, at: number) =>
    JSON.stringify({
      type: 'process',
      data: { t: at, pid: 100, start_ticks: start, comm: 'qemu', vmm: 'qemu', name, uuid: null },
    });
  more(process(200, 'old', 3 * SECOND), exported({ t: 3 * SECOND, inode: 9, pid: 100 }));
  more(process(350, 'new', 4 * SECOND));
  assert.deepEqual(named(9), ['old', true]);
  // The end of the first, told after all, does not end the second.
  more(exported({ t: 4 * SECOND, inode: 10, pid: 100 }));
  more(JSON.stringify({ type: 'exit', data: { t: 5 * SECOND, pid: 100, start_ticks: 200 } }));
  assert.deepEqual(named(10), ['new', false]);
});

test('a VM that a thread has made is its process: the end of the thread is not told, that of the process is', async (t) => {
  const { host, model, more, watch, lines, poll, clock } = await watched(t);
  await host.addProcess(100, 200, qemu('web'));
  await host.addProcess(120, 201, qemu('web'), 100);
  const exports = async (inode: number, at: number): Promise<void> => {
    clock.now = at;
    more(exported({ t: at, inode, pid: 103, kvm_pid: 120 }));
    watch.seeProcess(120, true, at);
    await watch.settled();
  };
  const vm = (inode: number) => [model.buffer(inode)?.vm?.pid, model.buffer(inode)?.vm?.name];
  const told = () => lines.map(({ type, data }) => [type, 'pid' in data ? data.pid : null]);
  await exports(9, 3 * SECOND);
  const introduced = [
    ['process', 120],
    ['process', 100],
  ];
  assert.deepEqual(told(), introduced);
  await gone(host, 120);
  await poll(4 * SECOND);
  await exports(10, 5 * SECOND);
  assert.deepEqual(told(), introduced);
  for (const inode of [9, 10]) assert.deepEqual(vm(inode), [100, 'web']);
  await host.addProcess(120, 550, qemu('other'));
  await poll(6 * SECOND);
  await exports(11, 7 * SECOND);
  assert.deepEqual(told(), [...introduced, ['process', 120]]);
  await gone(host, 100);
  await poll(8 * SECOND);
  assert.deepEqual(told().at(-1), ['exit', 100]);
  await gone(host, 120);
  await poll(9 * SECOND);
  assert.deepEqual(told().at(-1), ['exit', 120], 'a process of its own by now');
});

async function addDevice(host: FakeHost, packed: number, driver: string): Promise<string> {
  const folder = join(host.sysRoot, 'bus/pci/devices', pciAddress(packed));
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'vendor'), '0x10de\n');
  if (driver !== '') await symlink(`../../../drivers/${driver}`, join(folder, 'driver'));
  return folder;
}

test('a device is told, told gone once, and told again when it is back', async (t) => {
  const { host, watch, types, poll } = await watched(t);
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
  // A driver of VFIO whose name does not say so.
  const odd = await addDevice(host, DEVICE, 'odd');
  await mkdir(join(odd, 'vfio-dev'));
  await poll(8 * SECOND);
  assert.deepEqual(types().slice(5), ['device']);
});

test('an importing device is told by its address, and is gone only with its entry', async (t) => {
  const { host, watch, lines, types, poll } = await watched(t);
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

test('the devices and processes that are watched are bounded', async (t) => {
  const host = await fakeHost(t);
  const lines: CollectorLine[] = [];
  const watch = new IdentityWatch({
    procRoot: host.procRoot,
    sysRoot: host.sysRoot,
    bootUs: () => 1,
    emit: (line) => lines.push(line),
    onOwnerExit: () => {},
    pciIds: new PciIds([]),
    limit: 2,
  });
  for (const device of [1, 2]) await addDevice(host, device, 'vfio-pci');
  // One after the other: two that are read at once may be told in either order.
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
  const told = lines.map((line) => `${line.type} ${'device' in line.data ? line.data.device.slice(-1) : ''}`);
  assert.deepEqual(
    told,
    ['device 1', 'device 2', 'device_gone 2', 'device 3'],
    'the one that had left made room',
  );
});

test('one more process is no walk over those that are remembered', async () => {
  const limit = 2000;
  const watch = new IdentityWatch({
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
  const { host, watch, lines } = await watched(t);
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

const openFiles = (): number => readdirSync('/proc/self/fd').length;
