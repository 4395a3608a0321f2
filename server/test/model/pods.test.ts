import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isVm } from '../../src/cli/watch/rows.ts';
import { feed } from '../fixtures/feed.ts';
import { exported } from '../fixtures/stream-lines.ts';
import { BEGIN, metric, process, S } from './vm-lines.ts';

const NAMES = {
  pod_name: 'launcher-x',
  pod_namespace: 'tenant-a',
  container_name: 'compute',
};

test('the names of pod and container are in the API, in vm_info and in the sentence of an incident', async () => {
  const { model, more } = feed([
    ...BEGIN,
    process(100, null, { pod_uid: 'UID', container_id: 'c0ffee', ...NAMES }),
    exported({ t: 3 * S, inode: 1, pid: 100, kvm_pid: 100, born_revoked: true }),
  ]);
  const { vm } = model.buffer(1) ?? {};
  assert.ok(vm);
  const { pod_name, pod_namespace, container_name } = vm;
  assert.deepEqual({ pod_name, pod_namespace, container_name }, NAMES);
  const labels = 'pod_uid="UID",pod_name="launcher-x",pod_namespace="tenant-a",container_name="compute"';
  assert.ok((await metric(model, 'vm_info'))[0]?.includes(labels));
  const sentence = () => model.incidents.all()[0]?.sentence ?? '';
  assert.match(sentence(), /\(.*VM of pod tenant-a\/launcher-x\) was exported/);
  for (const text of ['tenant-a/launcher', 'compute', 'uid']) assert.ok(isVm(vm, text), text);
  assert.ok(!isVm(vm, 'tenant-b'));
  // The line of a process in a recording of an older version.
  more(process(100, null, { pod_uid: 'UID', container_id: 'c0ffee' }));
  assert.equal(model.buffer(1)?.vm?.pod_name, null);
  assert.match(sentence(), /VM of pid 100\) was exported/);
  const empty = 'pod_uid="UID",pod_name="",pod_namespace="",container_name=""';
  assert.ok((await metric(model, 'vm_info'))[0]?.includes(empty));
});
