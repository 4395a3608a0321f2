import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceAddress } from '../../src/model/naming.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  counterRead,
  DEVICE,
  DEVICE_ADDRESS,
  exported,
  heartbeat,
  imported,
  packName,
  ready,
  released,
  starting,
} from '../fixtures/stream-lines.ts';
import { BEGIN, device, deviceGone, GRACE_SECONDS, metric, process, S } from './vm-lines.ts';

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
  more(exported({ t: 3 * S, inode: 1 }), imported({ t: 3 * S, inode: 1, stage: 'attach', importer: 'kvm' }));
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
