import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Catalogue } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import { deviceAddress } from '../../src/model/naming.ts';
import type { TracerModel } from '../../src/tracer/tracer.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  counterRead,
  DEVICE,
  DEVICE_ADDRESS,
  exported,
  HEADER,
  heartbeat,
  imported,
  packName,
  ready,
  released,
  snapshotBuffer,
  starting,
  tupleLine,
} from '../fixtures/stream-lines.ts';

const S = 1_000_000;
const BEGIN = [HEADER, starting(S, 1), ready(S)];
const GRACE_SECONDS = 900;

function process(pid: number, name: string | null, more: object = {}) {
  return collectorLine('process', {
    t: 2 * S,
    pid,
    start_ticks: 10,
    comm: 'task',
    vmm: 'qemu',
    name,
    uuid: null,
    ...more,
  });
}
function device(t: number, address = DEVICE_ADDRESS, more: object = {}) {
  return collectorLine('device', {
    t,
    device: address,
    vendor_id: '10de',
    device_id: '2330',
    driver: 'vfio-pci',
    iommu_group: '1',
    numa_node: 0,
    ...more,
  });
}
function deviceGone(t: number, address = DEVICE_ADDRESS) {
  return collectorLine('device_gone', { t, device: address });
}

async function metric(model: TracerModel, name: string): Promise<string[]> {
  const text = await renderMetrics(new Catalogue({ model, processMetrics: false }), 'text');
  return text.split('\n').filter((line) => line.startsWith(`vfio_dmabuf_${name}{`));
}

test('the VM of a buffer is the creator of its KVM VM, else its owner, else the holder of the device', () => {
  const { model, more } = feed([
    ...BEGIN,
    process(100, 'kvm'),
    process(101, 'owner', { pod_uid: 'p', container_id: 'c' }),
    process(102, 'holder'),
    process(103, null, { vmm: null }),
    exported({ t: 3 * S, inode: 1, pid: 103, kvm_pid: 100, vm_type: 4 }),
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
    exported({ t: 3 * S, inode: 1, pid: 100, kvm_pid: 120, vm_type: 4 }),
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
  const made = exported({ t: 3 * S, inode: 1, pid: 101, kvm_pid: 120, vm_type: 4 });
  for (const lines of [
    [made, thread(120, null, { vmm: null })],
    [thread(120, null, { vmm: null }), made],
  ]) {
    const { events } = feed([
      ...BEGIN,
      ...lines,
      imported({ t: 4 * S, inode: 1, stage: 1, importer: 'iommu' }),
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
    exported({ t: 3 * S, inode: 1, pid: 100, kvm_pid: 120, vm_type: 4 }),
    exported({ t: 3 * S, inode: 2, pid: 103, kvm_pid: 120, vm_type: 4 }),
    process(120, 'other', { t: 5 * S, start_ticks: 400 }),
  ]);
  for (const inode of [1, 2]) assert.deepEqual(vm(model, inode), [100, 'kvm', 'web', 'snp']);
  const events = more(
    exported({ t: 6 * S, inode: 3, pid: 100, kvm_pid: 120, vm_type: 4 }),
    tupleLine('private_read', 6 * S, 100, 1, DEVICE, 2, 0, 0, 2, 120, 'qemu'),
  );
  assert.deepEqual(vm(model, 3), [100, 'owner', 'web', 'snp']);
  const [export_, read] = events;
  assert.equal(export_?.kind === 'export' && export_.vm?.name, 'web');
  assert.equal(export_?.kind === 'export' && export_.vm?.kind, 'snp');
  assert.equal(read?.kind === 'private_read' && read.owner_vm?.name, 'web');
  more(exported({ t: 7 * S, inode: 4, pid: 120, kvm_pid: 120, vm_type: 0 }));
  assert.deepEqual(vm(model, 4), [120, 'kvm', 'other', 'default']);
  assert.deepEqual(vm(model, 3), [100, 'owner', 'web', 'snp'], 'the kind does not change either');
});

test('an event of an unknown buffer names the process of the thread until that process has ended', () => {
  const read = (t: number) => tupleLine('private_read', t, 100, 1, DEVICE, 77, 0, 0, 2, 120, 'qemu');
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
      exported({ t: 3 * S, inode: 1, pid: 100, kvm_pid: 120, vm_type: 4 }),
      next,
    ]);
    assert.deepEqual(vm(model, 1), [100, 'owner', 'web', 'snp']);
    const [event] = more(exported({ t: 3 * S + 2, inode: 3, pid: 100, kvm_pid: 120, vm_type: 4 }));
    assert.equal(event?.kind === 'export' && event.vm?.kind, 'snp');
    const heldBy = (...pids: number[]) =>
      collectorLine('snapshot', {
        t_begin: 4 * S,
        t_end: 4 * S + 1,
        cause: 'start',
        complete: false,
        errors: [],
        buffers: [1, 2].map((inode) => snapshotBuffer({ inode, kvm_pid: 120, vm_type: 4 })),
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
    imported({ t: 4 * S, inode: 1, stage: 1, importer: 'iommu' }),
    imported({ t: 5 * S, inode: 1, stage: 1, importer: '0000:81:00.0' }),
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

test('vm_info has one series for each device, with the VM of its newest buffer', async () => {
  const { model, more } = feed([
    ...BEGIN,
    process(100, 'old'),
    process(200, 'new'),
    exported({ t: 3 * S, inode: 1, kvm_pid: 100 }),
    exported({ t: 4 * S, inode: 2, pid: 200, kvm_pid: 200 }),
  ]);
  const rows = await metric(model, 'vm_info');
  assert.equal(rows.length, 1);
  assert.match(rows[0] ?? '', /vm="new".*by="kvm"/);
  more(released(5 * S, 2));
  assert.match(
    (await metric(model, 'vm_info'))[0] ?? '',
    /vm="new"/,
    'the VM stays after the release of its buffer',
  );
});

test('a VM stays for 900 s of stream time after its process has ended and its buffers are released', async () => {
  const { model, more } = feed([
    ...BEGIN,
    process(100, 'web'),
    exported({ t: 3 * S, inode: 1, kvm_pid: 100 }),
  ]);
  const seriesAt = async (t: number): Promise<number> => {
    more(heartbeat(t, 1));
    return (await metric(model, 'vm_info')).length;
  };
  more(released(4 * S, 1));
  assert.equal(await seriesAt(2 * GRACE_SECONDS * S), 1, 'the process still runs');
  more(collectorLine('exit', { t: 2000 * S, pid: 100, start_ticks: 10 }));
  assert.equal(await seriesAt(2001 * S), 1);
  assert.equal(await seriesAt((2001 + GRACE_SECONDS) * S - 1), 1);
  assert.equal(await seriesAt((2001 + GRACE_SECONDS) * S), 0);
});

test('a VM whose process has ended stays until its buffers are released', async () => {
  const { model, more } = feed([
    ...BEGIN,
    process(100, 'web'),
    exported({ t: 3 * S, inode: 1, kvm_pid: 100 }),
  ]);
  more(collectorLine('exit', { t: 4 * S, pid: 100 }), heartbeat(5 * S, 1), heartbeat(5000 * S, 1));
  assert.equal((await metric(model, 'vm_info')).length, 1);
});

const COUNTED = { exports: { [`${DEVICE},1`]: 5, '32768,1': 2 }, releases: 7 };

test('the series of a removed device are dropped after 900 s and continue when the device returns', async () => {
  const { model, more } = feed([
    ...BEGIN,
    device(2 * S),
    device(2 * S, '0000:80:00.0'),
    ...counterRead(3 * S, COUNTED),
  ]);
  const count = async () =>
    (await metric(model, 'exports_total')).map((line) => line.replace(/.*device="(.*?)".*\} /, '$1 '));
  const infos = async () => (await metric(model, 'device_info')).length;
  more(deviceGone(4 * S), heartbeat((4 + GRACE_SECONDS) * S - 1, 0));
  assert.deepEqual([await infos(), await count()], [2, [`${DEVICE_ADDRESS} 5`, '0000:80:00.0 2']]);
  more(heartbeat((4 + GRACE_SECONDS) * S, 0));
  assert.deepEqual([await infos(), await count()], [1, ['0000:80:00.0 2']]);
  more(...counterRead(1000 * S, COUNTED, 4));
  assert.deepEqual(
    await count(),
    ['0000:80:00.0 2'],
    'counters that the kernel still has do not restore the series',
  );
  more(device(1001 * S), ...counterRead(1002 * S, { exports: { [`${DEVICE},1`]: 6 } }, 8));
  assert.deepEqual([await infos(), await count()], [2, [`${DEVICE_ADDRESS} 6`, '0000:80:00.0 2']]);
});

test('import series of a removed device are dropped after 900 s, but their totals do not decrease', async () => {
  const KVM = packName('kvm');
  const counted = (n: number) => ({
    imports: { [`1,${DEVICE},2,${KVM}`]: n, [`1,32768,2,${KVM}`]: 1 },
    import_rejections: { [`4,${DEVICE},2,${KVM},22,4`]: n, [`4,0,0,${KVM},22,2`]: 1 },
    detaches: { [`${DEVICE},2,${KVM}`]: n, [`0,2,${KVM}`]: 1 },
    unmaps: { [`${DEVICE},2,${KVM}`]: n },
  });
  const LINES = 7;
  const FAMILIES = ['imports', 'import_rejections', 'detaches', 'unmaps'] as const;
  const { model, more } = feed([...BEGIN, device(2 * S), ...counterRead(3 * S, counted(5))]);
  more(exported({ t: 3 * S, inode: 1 }), imported({ t: 3 * S, inode: 1, stage: 1, importer: 'kvm' }));
  const devices = async () => {
    const rows = await Promise.all(FAMILIES.map((name) => metric(model, `${name}_total`)));
    return rows.map((lines) => lines.map((line) => line.replace(/.*device="(.*?)".*\} /, '$1 ')));
  };
  const attachments = async () => (await metric(model, 'attachments')).length;
  const totals = () => FAMILIES.map((name) => model.counters.totals.counters[name]);
  const present = (n: number) => [
    [`${DEVICE_ADDRESS} ${n}`, '0000:80:00.0 1'],
    [`${DEVICE_ADDRESS} ${n}`, 'unknown 1'],
    [`${DEVICE_ADDRESS} ${n}`, 'unknown 1'],
    [`${DEVICE_ADDRESS} ${n}`],
  ];
  const dropped = [['0000:80:00.0 1'], ['unknown 1'], ['unknown 1'], []];
  assert.deepEqual([await devices(), await attachments(), totals()], [present(5), 1, [6, 6, 6, 5]]);
  more(released(4 * S, 1), deviceGone(4 * S), heartbeat((4 + GRACE_SECONDS) * S - 1, 0));
  assert.deepEqual([await devices(), await attachments()], [present(5), 0], 'within 900 s');
  more(heartbeat((4 + GRACE_SECONDS) * S, 0), ...counterRead((5 + GRACE_SECONDS) * S, counted(5), LINES));
  assert.deepEqual([await devices(), totals()], [dropped, [6, 6, 6, 5]], 'after 900 s');
  more(device((6 + GRACE_SECONDS) * S), ...counterRead((7 + GRACE_SECONDS) * S, counted(8), 2 * LINES));
  const back = (await devices()).map((lines) => lines.sort());
  assert.deepEqual(
    [back, totals()],
    [present(8).map((lines) => lines.sort()), [9, 9, 9, 8]],
    'after the device returned',
  );
});

test('a device that returns within 900 s, or that a later event names, keeps its series', async () => {
  for (const back of [device(5 * S), exported({ t: 5 * S, inode: 1 })]) {
    const { model, more } = feed([
      ...BEGIN,
      device(2 * S),
      ...counterRead(3 * S, COUNTED),
      deviceGone(4 * S),
    ]);
    more(back, heartbeat(5000 * S, 1));
    assert.equal((await metric(model, 'device_info')).length, 1);
    assert.equal((await metric(model, 'exports_total')).length, 2);
  }
});

test('the series of a device that returns under a new child continues from its old value', async () => {
  const { model, more } = feed([...BEGIN, device(2 * S), ...counterRead(3 * S, COUNTED)], {
    keepDeparted: 0,
  });
  more(deviceGone(4 * S), heartbeat(4 * S, 0), starting(5 * S, 2), ready(5 * S));
  more(...counterRead(6 * S, { exports: { [`${DEVICE},1`]: 1 } }));
  const mine = (await metric(model, 'exports_total')).filter((line) => line.includes(DEVICE_ADDRESS));
  assert.match(mine[0] ?? '', / 6$/);
});

test('removed devices free their series, so that new devices are not folded', async () => {
  const { model, more } = feed(BEGIN, { seriesLimit: 10, keepDeparted: 1 });
  for (let round = 0; round < 20; round++) {
    const t = (10 + 10 * round) * S;
    const devices = Array.from({ length: 10 }, (_, index) => 0x10000 + round * 0x800 + index * 8);
    const maps = Object.fromEntries(devices.map((one) => [`${one},1`, 1]));
    more(...devices.map((one) => device(t, deviceAddress(one))), ...counterRead(t, { exports: maps }));
    assert.equal((await metric(model, 'exports_total')).length, 10);
    more(...devices.map((one) => deviceGone(t, deviceAddress(one))), heartbeat(t + 2 * S, 0));
  }
  assert.equal(model.counters.folded().exports, 0);
  assert.deepEqual(await metric(model, 'exports_total'), []);
});

test('the series of 5,000 VMs and devices are limited, and none is left after their removal', async () => {
  const { model, more } = feed(BEGIN);
  const all = Array.from({ length: 5000 }, (_, index) => index + 1);
  const address = (index: number) => deviceAddress(0x10000 + index * 8);
  for (const index of all) {
    more(
      process(index, `vm-${index}`),
      device(3 * S, address(index)),
      exported({ t: 3 * S, inode: index, pid: index, kvm_pid: index, device: 0x10000 + index * 8 }),
    );
  }
  more(heartbeat(4 * S, 5000));
  assert.equal(Array.from(model.vms()).length, 5000);
  assert.equal(model.devices().length, 5000);
  for (const name of ['vm_info', 'device_info']) assert.equal((await metric(model, name)).length, 2001);
  for (const index of all) {
    more(
      released(5 * S, index),
      collectorLine('exit', { t: 5 * S, pid: index, start_ticks: 10 }),
      deviceGone(5 * S, address(index)),
    );
  }
  more(heartbeat(6 * S, 10_000), heartbeat((6 + GRACE_SECONDS) * S, 10_000));
  assert.deepEqual([Array.from(model.vms()), model.devices()], [[], []]);
});
