import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TracerModel } from '../../src/tracer/tracer.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  DEVICE,
  eventLine,
  exported,
  heartbeat,
  imported,
  released,
  snapshotBuffer,
} from '../fixtures/stream-lines.ts';
import { BEGIN, device, GRACE_SECONDS, metric, process, S } from './vm-lines.ts';

test('the VM of a buffer is the creator of its KVM VM, else its owner, else the holder of the device', () => {
  const { model, more } = feed([
    ...BEGIN,
    process(100, 'kvm'),
    process(101, 'owner', { pod_uid: 'p', container_id: 'c' }),
    process(102, 'holder'),
    process(103, null, { vmm: null }),
    exported({ t: 3 * S, inode: 1, pid: 103, kvm_pid: 100, vm_type: 'snp' }),
    exported({ t: 3 * S, inode: 2, pid: 101 }),
    exported({ t: 3 * S, inode: 3, pid: 103 }),
  ]);
  more(
    collectorLine('snapshot', {
      t_begin: 4 * S,
      t_end: 4 * S + 1,
      cause: 'start',
      complete: false,
      errors: [],
      buffers: [2, 3, 4].map((inode) => snapshotBuffer({ inode, device: inode === 3 ? 0x4200 : DEVICE })),
      device_holders: [
        { device: DEVICE, pid: 103 },
        { device: DEVICE, pid: 102 },
      ],
    }),
  );
  const vms = [1, 2, 3, 4].map((inode) => {
    const vm = model.buffer(inode)?.vm;
    return vm && [vm.by, vm.name, vm.kind, vm.pod_uid, vm.container_id];
  });
  assert.deepEqual(vms, [
    ['kvm', 'kvm', 'snp', null, null],
    ['owner', 'owner', 'unknown', 'p', 'c'],
    null,
    ['holder', 'holder', 'unknown', null, null],
  ]);
});

/** KVM identifies a VM by the thread that created it. These are threads of process 100. */
function thread(pid: number, name: string | null, more: object = {}) {
  return process(pid, name, { start_ticks: 11, tgid: 100, ...more });
}
function vm(model: TracerModel, inode: number) {
  const { pid, by, name, kind } = model.buffer(inode)?.vm ?? {};
  return [pid, by, name, kind];
}

test('a VM that a thread created belongs to its process, in any order of the lines', async () => {
  const lines = [
    exported({ t: 3 * S, inode: 1, pid: 100, kvm_pid: 120, vm_type: 'snp' }),
    thread(120, 'web'),
    process(100, 'web'),
  ];
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  for (const order of orders) {
    const { model, more } = feed([...BEGIN, ...order.map((index) => lines[index] as string)]);
    assert.deepEqual(vm(model, 1), [100, 'kvm', 'web', 'snp'], order.join());
    assert.match((await metric(model, 'vm_info'))[0] ?? '', /vm="web".*kind="snp",by="kvm"/);
    more(released(4 * S, 1), heartbeat(5 * S, 2), heartbeat(5000 * S, 2));
    assert.equal((await metric(model, 'vm_info')).length, 1, 'the process still runs');
    more(collectorLine('exit', { t: 5000 * S, pid: 100, start_ticks: 10 }), heartbeat(5001 * S, 2));
    more(heartbeat((5001 + GRACE_SECONDS) * S, 2));
    assert.equal((await metric(model, 'vm_info')).length, 0, 'the process has ended');
  }
});

test('a process whose thread created a VM counts as a VM, also if it is not a known VMM', () => {
  const made = exported({ t: 3 * S, inode: 1, pid: 101, kvm_pid: 120, vm_type: 'snp' });
  for (const lines of [
    [made, thread(120, null, { vmm: null })],
    [thread(120, null, { vmm: null }), made],
  ]) {
    const { events } = feed([
      ...BEGIN,
      ...lines,
      imported({ t: 4 * S, inode: 1, stage: 'attach', importer: 'iommu' }),
    ]);
    const last = events.at(-1);
    assert.deepEqual(last?.kind === 'import' && [last.by_vm?.pid, last.by_vm?.kind], [100, 'snp']);
  }
});

test('a VM keeps its process after its thread has ended, also if the thread id is reused', () => {
  const { model, more } = feed([
    ...BEGIN,
    process(100, 'web'),
    thread(120, 'web'),
    exported({ t: 3 * S, inode: 1, pid: 100, kvm_pid: 120, vm_type: 'snp' }),
    exported({ t: 3 * S, inode: 2, pid: 103, kvm_pid: 120, vm_type: 'snp' }),
    process(120, 'other', { t: 5 * S, start_ticks: 400 }),
  ]);
  for (const inode of [1, 2]) assert.deepEqual(vm(model, inode), [100, 'kvm', 'web', 'snp']);
  const events = more(
    exported({ t: 6 * S, inode: 3, pid: 100, kvm_pid: 120, vm_type: 'snp' }),
    eventLine('private_read', { t: 6 * S, inode: 2, kvm_pid: 120 }),
  );
  assert.deepEqual(vm(model, 3), [100, 'owner', 'web', 'snp']);
  const [export_, read] = events;
  assert.equal(export_?.kind === 'export' && export_.vm?.name, 'web');
  assert.equal(export_?.kind === 'export' && export_.vm?.kind, 'snp');
  assert.equal(read?.kind === 'private_read' && read.owner_vm?.name, 'web');
  more(exported({ t: 7 * S, inode: 4, pid: 120, kvm_pid: 120, vm_type: 'default' }));
  assert.deepEqual(vm(model, 4), [120, 'kvm', 'other', 'default']);
  assert.deepEqual(vm(model, 3), [100, 'owner', 'web', 'snp'], 'the kind does not change either');
});

test('an event of an unknown buffer names the process of the thread until that process has ended', () => {
  const read = (t: number) => eventLine('private_read', { t, inode: 77, kvm_pid: 120 });
  const { more } = feed([...BEGIN, process(100, 'web'), thread(120, 'web')]);
  const owner = (t: number) =>
    more(read(t)).map(
      (event) => event.kind === 'private_read' && [event.owner_vm?.pid, event.owner_vm?.name],
    );
  assert.deepEqual(owner(3 * S), [[100, 'web']]);
  more(collectorLine('exit', { t: 4 * S, pid: 100, start_ticks: 10 }));
  assert.deepEqual(owner(5 * S), [[120, null]]);
});

test('without the process of its thread, a VM is the VMM that exported or that has the device open', () => {
  const exit = collectorLine('exit', { t: 3 * S + 1, pid: 120 });
  for (const next of [exit, process(120, 'other'), process(120, null, { vmm: null })]) {
    const { model, more } = feed([
      ...BEGIN,
      process(100, 'web'),
      process(103, null, { vmm: null }),
      exported({ t: 3 * S, inode: 1, pid: 100, kvm_pid: 120, vm_type: 'snp' }),
      next,
    ]);
    assert.deepEqual(vm(model, 1), [100, 'owner', 'web', 'snp']);
    const [event] = more(exported({ t: 3 * S + 2, inode: 3, pid: 100, kvm_pid: 120, vm_type: 'snp' }));
    assert.equal(event?.kind === 'export' && event.vm?.kind, 'snp');
    const heldBy = (...pids: number[]) =>
      collectorLine('snapshot', {
        t_begin: 4 * S,
        t_end: 4 * S + 1,
        cause: 'start',
        complete: false,
        errors: [],
        buffers: [1, 2].map((inode) => snapshotBuffer({ inode, kvm_pid: 120, vm_type: 'snp' })),
        device_holders: pids.map((pid) => ({ device: DEVICE, pid })),
      });
    more(heldBy(103, 100));
    assert.deepEqual(vm(model, 2), [100, 'holder', 'web', 'snp']);
    if (next === exit) continue;
    more(heldBy(100, 120));
    for (const inode of [1, 2])
      assert.deepEqual(vm(model, inode).slice(0, 2), [120, 'kvm'], 'process 120 itself has the device open');
  }
});

test('the buffer of a VM that has ended keeps the name of that VM after another VM opens the device', () => {
  const seen = (t: number, buffer: object, pid: number) =>
    collectorLine('snapshot', {
      t_begin: t,
      t_end: t + 1000,
      cause: 'owner_exit',
      complete: true,
      errors: [],
      buffers: [snapshotBuffer({ inode: 7, attachments: 1, ...buffer })],
      device_holders: [{ device: DEVICE, pid }],
    });
  const { model } = feed([
    ...BEGIN,
    process(100, 'vm-a'),
    seen(3 * S, { kvm_pid: 100, vm_type: 4 }, 100),
    collectorLine('exit', { t: 10 * S, pid: 100 }),
    process(200, 'vm-b'),
    // Closing the device revoked the buffer, and then the kernel no longer knows its device.
    seen(21 * S, { device: 0, revoked: true }, 200),
  ]);
  const vm = model.buffer(7)?.vm;
  assert.deepEqual([vm?.name, vm?.kind], ['vm-a', 'snp']);
});

test('an export event without a KVM VM names the VMM that exported', () => {
  const { events } = feed([...BEGIN, process(100, 'web'), exported({ t: 3 * S, inode: 1, pid: 100 })]);
  assert.deepEqual(
    events.map((event) => event.kind === 'export' && [event.vm?.by, event.vm?.name]),
    [['owner', 'web']],
  );
});

test('an import has the calling task, its VM and the interface name of the importing device', () => {
  const { model, events } = feed([
    ...BEGIN,
    process(100, 'web'),
    device(2 * S, '0000:81:00.0', { driver: 'mlx5_core', interfaces: ['mlx5_0', 'eth0'] }),
    exported({ t: 3 * S, inode: 1, pid: 100 }),
    imported({ t: 4 * S, inode: 1, stage: 'attach', importer: 'iommu' }),
    imported({ t: 5 * S, inode: 1, stage: 'attach', importer: '0000:81:00.0' }),
  ]);
  const view = model
    .buffer(1)
    ?.attachments.map((one) => [
      one.importer,
      one.importer_interface,
      one.task?.comm,
      one.by_vm?.name,
      one.by_vm?.by,
    ]);
  assert.deepEqual(view, [
    ['iommufd', null, 'qemu', 'web', 'task'],
    ['0000:81:00.0', 'mlx5_0', 'qemu', 'web', 'task'],
  ]);
  const imports = events.map(
    (event) => event.kind === 'import' && [event.by_vm?.name, event.importer_interface],
  );
  assert.deepEqual(imports, [false, ['web', null], ['web', 'mlx5_0']]);
});
