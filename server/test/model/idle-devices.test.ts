import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idleDeviceText } from '../../src/contract/names.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  exported,
  HEADER,
  processExit,
  ready,
  released,
  snapshot,
  snapshotBuffer,
  starting,
} from '../fixtures/stream-lines.ts';

const S = 1_000_000;
const DEVICE = 0x4100;
const OTHER = DEVICE + 8;
const QEMU = collectorLine('process', {
  t: 4 * S,
  pid: 300,
  start_ticks: 1,
  comm: 'qemu',
  vmm: 'qemu',
  name: 'web-7',
  uuid: null,
});

/** A snapshot in which process 300 has both devices open, and one device has a buffer. */
const OPEN = snapshot(4 * S, [snapshotBuffer({ inode: 9, device: DEVICE })], {
  device_holders: [
    { device: DEVICE, pid: 300 },
    { device: OTHER, pid: 300 },
  ],
});

function idle(...lines: string[]): string[] {
  const { model } = feed([HEADER, starting(S, 1), ready(2 * S), ...lines]);
  return model.idleDevices().map(idleDeviceText);
}

test('a device that a process has open without a buffer is listed with the process and its VM', () => {
  assert.deepEqual(idle(QEMU, OPEN), ['0000:41:01.0 by VM web-7, qemu (300)']);
  assert.deepEqual(idle(OPEN), ['0000:41:01.0 by pid 300']);
});

test('an export removes the device from the list, and the release of its last buffer adds it', () => {
  assert.deepEqual(idle(OPEN, exported({ t: 5 * S, inode: 10, device: OTHER })), []);
  assert.deepEqual(idle(OPEN, released(5 * S, 9)), ['0000:41:00.0 by pid 300', '0000:41:01.0 by pid 300']);
});

test('the end of the process removes the device from the list', () => {
  assert.deepEqual(idle(OPEN, processExit(5 * S, 300)), []);
});

test('without a snapshot that lists open devices, none is known', () => {
  assert.deepEqual(idle(QEMU), []);
  assert.equal(idle(OPEN, snapshot(6 * S, [])).length, 2, 'a snapshot without that list does not change it');
});
