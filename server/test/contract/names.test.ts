import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmRef } from '../../src/contract/fields.ts';
import { podName, vmName, vmTitle } from '../../src/contract/names.ts';

const NAMELESS: VmRef = {
  pid: 100,
  by: 'kvm',
  kind: 'default',
  vmm: 'qemu',
  name: null,
  uuid: null,
  pod_uid: null,
  pod_name: null,
  pod_namespace: null,
  container_id: null,
  container_name: null,
};
const POD = { pod_uid: 'UID', pod_namespace: 'tenant-a', pod_name: 'launcher-x' };
const CONTAINER = { container_id: 'c0ffee', container_name: 'web-gpu' };
const UUID = { uuid: '6d2a5f1c-1111-2222-3333-444455556666' };

test('a VM is called by its name, else by its pod, its container, an ID, its process', () => {
  const cases: [Partial<VmRef>, name: string, title: string][] = [
    [{ name: 'web', ...UUID, ...POD, ...CONTAINER }, 'web', 'VM web'],
    [{ ...UUID, ...POD, ...CONTAINER }, 'tenant-a/launcher-x', 'VM of pod tenant-a/launcher-x'],
    [{ ...POD, pod_namespace: null }, 'launcher-x', 'VM of pod launcher-x'],
    [{ ...UUID, pod_uid: 'UID', ...CONTAINER }, 'web-gpu', 'VM of container web-gpu'],
    // Kata's name of a VM is the ID of its sandbox.
    [
      { name: 'sandbox-c0ffee', ...UUID, ...POD, container_id: 'c0ffee' },
      'tenant-a/launcher-x',
      'VM of pod tenant-a/launcher-x',
    ],
    [{ name: 'sandbox-c0ffee', ...UUID, container_id: 'c0ffee' }, 'sandbox-c0ffee', 'VM sandbox-c0ffee'],
    [{ ...UUID, pod_uid: 'UID' }, UUID.uuid, `VM ${UUID.uuid}`],
    [{ pod_uid: 'UID', container_id: 'c0ffee' }, 'UID', 'VM of pid 100'],
    [{}, 'pid 100', 'VM of pid 100'],
  ];
  for (const [known, name, title] of cases) {
    const vm = { ...NAMELESS, ...known };
    assert.deepEqual([vmName(vm), vmTitle(vm)], [name, title]);
  }
  assert.equal(vmName(null), '');
  assert.equal(podName(NAMELESS), null);
});
