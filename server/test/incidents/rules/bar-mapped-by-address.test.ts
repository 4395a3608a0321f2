import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectorLine, exported, imported, processExit, released } from '../../fixtures/stream-lines.ts';
import { at, S, T, watch } from '../watch.ts';

const DEVICE = 0x4100;
const PID = 300;

function byAddress(t: number, fields: { pid?: number; device?: number } = {}): string {
  return imported({
    t,
    inode: 0,
    stage: 'ioas_map',
    importer: 'iommu',
    errno: 14,
    reason: 'bar_by_address',
    pid: PID,
    device: DEVICE,
    ...fields,
  });
}
const QEMU = collectorLine('process', {
  t: T + 1,
  pid: PID,
  start_ticks: 1,
  comm: 'qemu',
  vmm: 'qemu',
  name: 'web-7',
  uuid: null,
});

function opened(lines: readonly string[]) {
  return watch(lines)
    .incidents()
    .filter(({ kind }) => kind === 'bar_mapped_by_address');
}

test('a BAR that iommufd is asked to map by its address is an incident of process and device', () => {
  const [incident, ...others] = opened([byAddress(T), byAddress(T + 5)]);
  assert.deepEqual(others, []);
  const { severity, state, device, inode, vm, count } = incident ?? {};
  assert.deepEqual(
    [severity, state, device, inode, vm, count],
    ['warning', 'open', '0000:41:00.0', null, null, 2],
  );
  assert.equal(
    incident?.sentence,
    'Process qemu (300) asked iommufd to map a BAR of 0000:41:00.0 by its address, 2 times: ' +
      'the kernel cannot do this, so other devices cannot reach the BAR.',
  );
});

test('the incident names the VM, also if its identity arrives after the event', () => {
  const [incident] = opened([byAddress(T), QEMU]);
  assert.deepEqual([incident?.vm?.name, incident?.vm?.by], ['web-7', 'task']);
  assert.match(incident?.sentence ?? '', /^VM web-7 \(pid 300\) asked iommufd/);
});

test('each process and each device has its own incident', () => {
  const lines = [byAddress(T), byAddress(T + 1, { pid: 301 }), byAddress(T + 2, { device: DEVICE + 8 })];
  assert.equal(opened(lines).length, 3);
});

test('an address that is no BAR, and a BAR of no known device, open nothing', () => {
  const ram = imported({
    t: T,
    inode: 0,
    stage: 'ioas_map',
    importer: 'iommu',
    errno: 14,
    reason: 'bad_address',
    device: 0,
  });
  assert.deepEqual(opened([ram, byAddress(T + 1, { device: 0 })]), []);
});

test('the incident closes when the process ends, also if its end arrives before the event', () => {
  for (const lines of [
    [byAddress(T), processExit(4 * S, PID)],
    [processExit(4 * S, PID), byAddress(T)],
  ]) {
    const [incident] = opened(lines);
    assert.deepEqual([incident?.closed_by, incident?.closed_at], ['vm_gone', at(4 * S)]);
  }
});

test('the incident closes when the same process maps a dma-buf of the device, not an older or a foreign one', () => {
  const mapped = (t: number, pid: number, device = DEVICE): string =>
    imported({ t, inode: 9, stage: 'iommufd', importer: 'iommu', pid, device });
  const stays = [mapped(T + 5, PID + 1), mapped(T - 1, PID), mapped(T + 6, PID, DEVICE + 8)];
  assert.equal(opened([byAddress(T), ...stays])[0]?.state, 'open');
  const [incident] = opened([byAddress(T), mapped(T + 9, PID)]);
  assert.deepEqual([incident?.closed_by, incident?.closed_at], ['mapped_as_dmabuf', at(T + 9)]);
  assert.match(incident?.sentence ?? '', /Over: the process has mapped a dma-buf of the device\.$/);
});

test('a process that exports other BARs of the device to an importer has no incident: its small BARs cannot be exported', () => {
  const others = [
    exported({ t: T, inode: 9, privacy: 'undeclared', pid: PID, device: DEVICE }),
    imported({ t: T + 1, inode: 9, stage: 'attach', importer: 'iommu', pid: PID, device: DEVICE }),
  ];
  assert.deepEqual(opened([...others, byAddress(T + 2)]), []);
  assert.equal(opened([...others, byAddress(T + 2, { pid: PID + 1 })]).length, 1, 'another process');
  assert.equal(opened([...others, byAddress(T + 2, { device: DEVICE + 8 })]).length, 1, 'another device');
  assert.equal(opened([others[0] ?? '', byAddress(T + 2)]).length, 1, 'an export that nobody has attached');
  assert.equal(opened([...others, released(T + 2, 9), byAddress(T + 3)]).length, 1, 'the export is released');
});
