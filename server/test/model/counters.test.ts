import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CounterStore } from '../../src/model/counters.ts';
import { packName } from '../fixtures/stream-lines.ts';

const KVM = packName('kvm');
const IOMMU = packName('iommu');

test('the keys of each kernel map become labels', () => {
  const store = new CounterStore(10);
  store.read({ name: 'exports', key: '16640,2', value: 3 });
  store.read({ name: 'export_rejections', key: '16640,22,17', value: 1 });
  store.read({ name: 'export_rejections', key: '0,4095,99', value: 2 });
  store.read({ name: 'import_rejections', key: `4,16640,2,${KVM},22,4`, value: 5 });
  store.read({ name: 'private_read_rejections', key: '1,22,2', value: 1 });
  store.read({ name: 'private_read_rejections', key: '1,5,2', value: 1 });
  store.read({ name: 'revocations', key: '16640,3', value: 1 });
  store.read({ name: 'policy_violations', key: '1', value: 1 });
  store.read({ name: 'mapping_routes', key: `16640,0,${IOMMU},3`, value: 4 });
  store.read({ name: 'releases', key: '', value: 7 });
  assert.deepEqual(store.counter('exports'), [
    { labels: { device: '0000:41:00.0', privacy: 'private' }, value: 3 },
  ]);
  assert.deepEqual(store.counter('export_rejections'), [
    { labels: { device: '0000:41:00.0', reason: 'unaligned', errno: 'EINVAL' }, value: 1 },
    { labels: { device: 'unknown', reason: 'code_99', errno: '4095' }, value: 2 },
  ]);
  assert.deepEqual(store.counter('import_rejections'), [
    {
      labels: {
        device: '0000:41:00.0',
        privacy: 'private',
        importer: 'kvm',
        stage: 'bind',
        reason: 'vm_mismatch',
        errno: 'EINVAL',
      },
      value: 5,
    },
  ]);
  assert.deepEqual(store.counter('private_data_read_rejections'), [
    { labels: { importer: 'kvm', reason: 'not_vfio' }, value: 2 },
  ]);
  assert.deepEqual(store.counter('revocations'), [
    { labels: { device: '0000:41:00.0', cause: 'flr' }, value: 1 },
  ]);
  assert.deepEqual(store.counter('policy_violations'), [{ labels: { kind: 'foreign_vm' }, value: 1 }]);
  assert.deepEqual(store.counter('mapping_routes'), [
    {
      labels: { device: '0000:41:00.0', privacy: 'undeclared', importer: 'iommufd', route: 'iommu' },
      value: 4,
    },
  ]);
  assert.deepEqual(store.counter('releases'), [{ labels: {}, value: 7 }]);
});

test('the label importer of iommufd is iommufd, not the name of its device', () => {
  const store = new CounterStore(10);
  store.read({ name: 'imports', key: `3,16640,0,${IOMMU}`, value: 2 });
  assert.deepEqual(store.counter('imports'), [
    {
      labels: { device: '0000:41:00.0', privacy: 'undeclared', importer: 'iommufd', stage: 'iommufd' },
      value: 2,
    },
  ]);
});

test('imports, detaches and unmaps have one series for each device and privacy', () => {
  const store = new CounterStore(10);
  const labelsOf = (name: 'imports' | 'detaches' | 'unmaps') =>
    store.counter(name).map(({ labels: { device, privacy }, value }) => [device, privacy, value]);
  for (const [key, value] of [
    ['16640,1', 2],
    ['16640,2', 3],
    ['16896,2', 4],
    // 0 is the device of a buffer whose device was closed.
    ['0,2', 5],
  ] as const) {
    store.read({ name: 'imports', key: `1,${key},${KVM}`, value });
    store.read({ name: 'detaches', key: `${key},${KVM}`, value });
    store.read({ name: 'unmaps', key: `${key},${KVM}`, value });
  }
  for (const name of ['imports', 'detaches', 'unmaps'] as const) {
    assert.deepEqual(labelsOf(name), [
      ['0000:41:00.0', 'shared', 2],
      ['0000:41:00.0', 'private', 3],
      ['0000:42:00.0', 'private', 4],
      ['unknown', 'private', 5],
    ]);
  }
});

test('a histogram may have a quarter of the label sets, because each has a series for each bucket', () => {
  const store = new CounterStore(8);
  for (const stage of [1, 2, 3, 4])
    store.read({ name: 'import_bucket', key: `${stage},${KVM},2`, value: stage });
  assert.deepEqual(
    store.histogram('import_duration').map(({ labels, buckets }) => [labels.stage, buckets[2]]),
    [
      ['attach', 1],
      ['map', 2],
      ['other', 7],
    ],
  );
});

test('rejections beyond the limit of the family are folded with all their labels', () => {
  const store = new CounterStore(2);
  for (const [index, device] of [256, 512, 768, 1024].entries())
    store.read({ name: 'import_rejections', key: `1,${device},2,${KVM},95,7`, value: index + 1 });
  assert.deepEqual(
    store.counter('import_rejections').map(({ labels, value }) => [labels.device, labels.reason, value]),
    [
      ['0000:01:00.0', 'no_peer_to_peer', 1],
      ['0000:02:00.0', 'no_peer_to_peer', 2],
      ['other', 'other', 7],
    ],
  );
  assert.equal(store.folded().import_rejections, 2);
});

test('sum and buckets of a duration form one series, and a bucket beyond the last counts as the last', () => {
  const store = new CounterStore(10);
  store.read({ name: 'import_ns', key: `1,${KVM}`, value: 5000 });
  store.read({ name: 'import_bucket', key: `1,${KVM},2`, value: 4 });
  store.read({ name: 'import_bucket', key: `1,${KVM},14`, value: 1 });
  store.read({ name: 'import_bucket', key: `1,${KVM},63`, value: 1 });
  const [series, ...others] = store.histogram('import_duration');
  assert.deepEqual(others, []);
  assert.equal(series?.sumNs, 5000);
  assert.deepEqual(series?.buckets, [0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
});

test('the counts of a new child are added to those of the child before', () => {
  const store = new CounterStore(10);
  store.read({ name: 'releases', key: '', value: 7 });
  store.newChild();
  store.read({ name: 'releases', key: '', value: 2 });
  store.read({ name: 'releases', key: '', value: 8 });
  assert.equal(store.counter('releases')[0]?.value, 15);
});

test('read returns the growth, also if a new child was not reported', () => {
  const store = new CounterStore(10);
  const growth = (value: number) => store.read({ name: 'missed', key: '', value });
  assert.deepEqual([growth(0), growth(2), growth(2), growth(5)], [0, 2, 0, 3]);
  assert.equal(growth(1), 1, 'a smaller value means a new child');
  store.newChild();
  assert.equal(growth(5), 5);
  assert.equal(store.counter('missed_returns')[0]?.value, 11);
  assert.equal(store.read({ name: 'emitted', key: '', value: 9 }), 0, 'emitted feeds no family');
});

test('label sets beyond the limit are folded, and the first ones keep their series', () => {
  const store = new CounterStore(2);
  store.read({ name: 'exports', key: '256,0', value: 1 });
  store.read({ name: 'exports', key: '512,0', value: 1 });
  store.read({ name: 'exports', key: '768,0', value: 1 });
  store.read({ name: 'exports', key: '1024,0', value: 1 });
  store.read({ name: 'exports', key: '768,0', value: 5 });
  store.read({ name: 'exports', key: '256,0', value: 4 });
  assert.deepEqual(store.counter('exports'), [
    { labels: { device: '0000:01:00.0', privacy: 'undeclared' }, value: 4 },
    { labels: { device: '0000:02:00.0', privacy: 'undeclared' }, value: 1 },
    { labels: { device: 'other', privacy: 'other' }, value: 6 },
  ]);
  assert.equal(store.folded().exports, 2);
  assert.equal(store.folded().imports, 0);
});

const read = fc.record({
  entries: fc.array(
    fc.record({ key: fc.constantFrom('256,0', '512,1', '768,0', '256,1'), value: fc.nat(50) }),
    { maxLength: 4 },
  ),
  restart: fc.boolean(),
});

test('no series decreases or disappears over any reads and restarts', () => {
  fc.assert(
    fc.property(fc.array(read), fc.integer({ min: 1, max: 4 }), (reads, limit) => {
      const store = new CounterStore(limit);
      let before = new Map<string, number>();
      for (const { entries, restart } of reads) {
        if (restart) store.newChild();
        for (const entry of entries) store.read({ name: 'exports', ...entry });
        const now = new Map(
          store.counter('exports').map(({ labels, value }) => [JSON.stringify(labels), value]),
        );
        for (const [labels, value] of before) assert.ok((now.get(labels) ?? -1) >= value, labels);
        assert.ok(now.size <= limit + 1);
        before = now;
      }
    }),
  );
});

test('the total is exactly the sum of all children', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(9)), { minLength: 1 }), (children) => {
      const store = new CounterStore(5);
      let expected = 0;
      for (const growths of children) {
        store.newChild();
        let value = 0;
        for (const growth of growths) {
          value += growth;
          store.read({ name: 'exports', key: '256,0', value });
        }
        expected += value;
      }
      assert.equal(store.counter('exports')[0]?.value ?? 0, expected);
    }),
  );
});

test('keys beyond the size of a kernel map are not counted, and a new child starts with no keys', () => {
  const store = new CounterStore(10, 2);
  const read = (device: number) => store.read({ name: 'exports', key: `${device},1`, value: 3 });
  assert.deepEqual([read(256), read(512), read(768), read(256)], [3, 3, null, 0]);
  store.newChild();
  assert.equal(read(768), 3);
});

test('parking a device hides its series of all children and no others, until it is counted again', () => {
  const store = new CounterStore(10);
  const read = (name: 'exports' | 'revocations', device: number, value: number) =>
    store.read({ name, key: `${device},1`, value });
  read('exports', 0x4100, 1);
  read('revocations', 0x4100, 1);
  read('exports', 0x4200, 1);
  store.newChild();
  read('exports', 0x4100, 1);
  store.park(new Set(['0000:41:00.0']));
  const devices = (name: 'exports' | 'revocations') => store.counter(name).map(({ labels }) => labels.device);
  assert.deepEqual([devices('exports'), devices('revocations')], [['0000:42:00.0'], []]);
  read('exports', 0x4100, 2);
  assert.deepEqual(devices('exports'), ['0000:42:00.0', '0000:41:00.0']);
  assert.equal(store.counter('exports')[1]?.value, 3);
  store.park(new Set(['0000:41:00.0']));
  assert.deepEqual(devices('exports'), ['0000:42:00.0']);
});
