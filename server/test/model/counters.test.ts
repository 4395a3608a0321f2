import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CounterStore } from '../../src/model/counters.ts';
import { packName } from '../fixtures/stream-lines.ts';

const KVM = packName('kvm');
const IOMMU = packName('iommu');

test('the keys of each map become labels', () => {
  const book = new CounterStore(10);
  book.read({ name: 'exports', key: '16640,2', value: 3 });
  book.read({ name: 'export_rejections', key: '16640,22,17', value: 1 });
  book.read({ name: 'export_rejections', key: '0,4095,99', value: 2 });
  book.read({ name: 'import_rejections', key: `4,16640,2,${KVM},22,4`, value: 5 });
  book.read({ name: 'private_read_rejections', key: '1,22,2', value: 1 });
  book.read({ name: 'private_read_rejections', key: '1,5,2', value: 1 });
  book.read({ name: 'revocations', key: '16640,3', value: 1 });
  book.read({ name: 'policy_violations', key: '1', value: 1 });
  book.read({ name: 'releases', key: '', value: 7 });
  assert.deepEqual(book.counter('exports'), [
    { labels: { device: '0000:41:00.0', privacy: 'private' }, value: 3 },
  ]);
  assert.deepEqual(book.counter('export_rejections'), [
    { labels: { device: '0000:41:00.0', reason: 'unaligned', errno: 'EINVAL' }, value: 1 },
    { labels: { device: 'unknown', reason: 'code_99', errno: '4095' }, value: 2 },
  ]);
  assert.deepEqual(book.counter('import_rejections'), [
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
  assert.deepEqual(book.counter('private_data_read_rejections'), [
    { labels: { importer: 'kvm', reason: 'not_vfio' }, value: 2 },
  ]);
  assert.deepEqual(book.counter('revocations'), [
    { labels: { device: '0000:41:00.0', cause: 'flr' }, value: 1 },
  ]);
  assert.deepEqual(book.counter('policy_violations'), [{ labels: { kind: 'foreign_vm' }, value: 1 }]);
  assert.deepEqual(book.counter('releases'), [{ labels: {}, value: 7 }]);
});

test('iommufd is shown by its name, not by that of its device', () => {
  const book = new CounterStore(10);
  book.read({ name: 'imports', key: `3,16640,0,${IOMMU}`, value: 2 });
  assert.deepEqual(book.counter('imports'), [
    {
      labels: { device: '0000:41:00.0', privacy: 'undeclared', importer: 'iommufd', stage: 'iommufd' },
      value: 2,
    },
  ]);
});

test('imports, detaches and unmaps of two devices and of both privacies are series of their own', () => {
  const book = new CounterStore(10);
  const labelsOf = (name: 'imports' | 'detaches' | 'unmaps') =>
    book.counter(name).map(({ labels: { device, privacy }, value }) => [device, privacy, value]);
  for (const [key, value] of [
    ['16640,1', 2],
    ['16640,2', 3],
    ['16896,2', 4],
    // The device was closed before.
    ['0,2', 5],
  ] as const) {
    book.read({ name: 'imports', key: `1,${key},${KVM}`, value });
    book.read({ name: 'detaches', key: `${key},${KVM}`, value });
    book.read({ name: 'unmaps', key: `${key},${KVM}`, value });
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

test('a histogram has a quarter as many label sets, because each has a series for each bucket', () => {
  const book = new CounterStore(8);
  for (const stage of [1, 2, 3, 4])
    book.read({ name: 'import_bucket', key: `${stage},${KVM},2`, value: stage });
  assert.deepEqual(
    book.histogram('import_duration').map(({ labels, buckets }) => [labels.stage, buckets[2]]),
    [
      ['attach', 1],
      ['map', 2],
      ['other', 7],
    ],
  );
});

test('rejections beyond the limit are folded with all their labels, and the limit is of the family', () => {
  const book = new CounterStore(2);
  for (const [index, device] of [256, 512, 768, 1024].entries())
    book.read({ name: 'import_rejections', key: `1,${device},2,${KVM},95,7`, value: index + 1 });
  assert.deepEqual(
    book.counter('import_rejections').map(({ labels, value }) => [labels.device, labels.reason, value]),
    [
      ['0000:01:00.0', 'no_peer_to_peer', 1],
      ['0000:02:00.0', 'no_peer_to_peer', 2],
      ['other', 'other', 7],
    ],
  );
  assert.equal(book.folded().import_rejections, 2);
});

test('sum and buckets of a duration meet in one series, a bucket beyond the last is the last', () => {
  const book = new CounterStore(10);
  book.read({ name: 'import_ns', key: `1,${KVM}`, value: 5000 });
  book.read({ name: 'import_bucket', key: `1,${KVM},2`, value: 4 });
  book.read({ name: 'import_bucket', key: `1,${KVM},14`, value: 1 });
  book.read({ name: 'import_bucket', key: `1,${KVM},63`, value: 1 });
  const [series, ...others] = book.histogram('import_duration');
  assert.deepEqual(others, []);
  assert.equal(series?.sumNs, 5000);
  assert.deepEqual(series?.buckets, [0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
});

test('a child that begins at zero adds to what the one before had counted', () => {
  const book = new CounterStore(10);
  book.read({ name: 'releases', key: '', value: 7 });
  book.newChild();
  book.read({ name: 'releases', key: '', value: 2 });
  book.read({ name: 'releases', key: '', value: 8 });
  assert.equal(book.counter('releases')[0]?.value, 15);
});

test('a read says how much has grown, also where a child was not told of', () => {
  const book = new CounterStore(10);
  const growth = (value: number) => book.read({ name: 'missed', key: '', value });
  assert.deepEqual([growth(0), growth(2), growth(2), growth(5)], [0, 2, 0, 3]);
  assert.equal(growth(1), 1, 'smaller: another child');
  book.newChild();
  assert.equal(growth(5), 5);
  assert.equal(book.counter('missed_returns')[0]?.value, 11);
  assert.equal(book.read({ name: 'emitted', key: '', value: 9 }), 0, 'feeds no family');
});

test('label sets beyond the limit are folded, and who was first stays', () => {
  const book = new CounterStore(2);
  book.read({ name: 'exports', key: '256,0', value: 1 });
  book.read({ name: 'exports', key: '512,0', value: 1 });
  book.read({ name: 'exports', key: '768,0', value: 1 });
  book.read({ name: 'exports', key: '1024,0', value: 1 });
  book.read({ name: 'exports', key: '768,0', value: 5 });
  book.read({ name: 'exports', key: '256,0', value: 4 });
  assert.deepEqual(book.counter('exports'), [
    { labels: { device: '0000:01:00.0', privacy: 'undeclared' }, value: 4 },
    { labels: { device: '0000:02:00.0', privacy: 'undeclared' }, value: 1 },
    { labels: { device: 'other', privacy: 'other' }, value: 6 },
  ]);
  assert.equal(book.folded().exports, 2);
  assert.equal(book.folded().imports, 0);
});

const read = fc.record({
  entries: fc.array(
    fc.record({ key: fc.constantFrom('256,0', '512,1', '768,0', '256,1'), value: fc.nat(50) }),
    { maxLength: 4 },
  ),
  restart: fc.boolean(),
});

test('no series goes back or vanishes across any reads and restarts', () => {
  fc.assert(
    fc.property(fc.array(read), fc.integer({ min: 1, max: 4 }), (reads, limit) => {
      const book = new CounterStore(limit);
      let before = new Map<string, number>();
      for (const { entries, restart } of reads) {
        if (restart) book.newChild();
        for (const entry of entries) book.read({ name: 'exports', ...entry });
        const now = new Map(
          book.counter('exports').map(({ labels, value }) => [JSON.stringify(labels), value]),
        );
        for (const [labels, value] of before) assert.ok((now.get(labels) ?? -1) >= value, labels);
        assert.ok(now.size <= limit + 1);
        before = now;
      }
    }),
  );
});

test('the total is that of all children, exactly', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(9)), { minLength: 1 }), (children) => {
      const book = new CounterStore(5);
      let expected = 0;
      for (const growths of children) {
        book.newChild();
        let value = 0;
        for (const growth of growths) {
          value += growth;
          book.read({ name: 'exports', key: '256,0', value });
        }
        expected += value;
      }
      assert.equal(book.counter('exports')[0]?.value ?? 0, expected);
    }),
  );
});

test('a key beyond those that any kernel map has is not taken in; a new child begins again', () => {
  const book = new CounterStore(10, 2);
  const read = (device: number) => book.read({ name: 'exports', key: `${device},1`, value: 3 });
  assert.deepEqual([read(256), read(512), read(768), read(256)], [3, 3, null, 0]);
  book.newChild();
  assert.equal(read(768), 3);
});

test('a device that leaves takes its series of all children out of sight, and no others', () => {
  const book = new CounterStore(10);
  const read = (name: 'exports' | 'revocations', device: number, value: number) =>
    book.read({ name, key: `${device},1`, value });
  read('exports', 0x4100, 1);
  read('revocations', 0x4100, 1);
  read('exports', 0x4200, 1);
  book.newChild();
  read('exports', 0x4100, 1);
  book.park(new Set(['0000:41:00.0']));
  const devices = (name: 'exports' | 'revocations') => book.counter(name).map(({ labels }) => labels.device);
  assert.deepEqual([devices('exports'), devices('revocations')], [['0000:42:00.0'], []]);
  read('exports', 0x4100, 2);
  assert.deepEqual(devices('exports'), ['0000:42:00.0', '0000:41:00.0']);
  assert.equal(book.counter('exports')[1]?.value, 3);
  book.park(new Set(['0000:41:00.0']));
  assert.deepEqual(devices('exports'), ['0000:42:00.0']);
});
