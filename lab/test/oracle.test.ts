import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contradictions, oracleSince } from '../src/oracle.ts';
import { changed, parseSamples, total } from '../src/samples.ts';

test('equal counts are not a contradiction', () => {
  const recorded = {
    export: { value: 2, '-22': 1, '0': 4 },
    attach: { '0': 1, '-95': 1 },
    release: { '0': 2 },
  };
  const counted = {
    'exports_total{device="a",privacy="undeclared"}': 2,
    'export_rejections_total{device="a",errno="EINVAL",reason="unaligned"}': 1,
    'imports_total{device="a",importer="x",privacy="undeclared",stage="attach"}': 1,
    'import_rejections_total{device="a",errno="EOPNOTSUPP",importer="x",privacy="undeclared",reason="no_peer_to_peer",stage="attach"}': 1,
    releases_total: 2,
  };
  assert.deepEqual(contradictions(recorded, counted), []);
});

test('the routes of the tracer are compared with what the kernel decided', () => {
  const mapping = (route: string): string =>
    `mapping_routes_total{device="a",importer="x",privacy="undeclared",route="${route}"}`;
  const recorded = { map_type: { '2': 1, '3': 2, '4': 2 }, iova: { '0': 1, '1': 1 } };
  const counted = { [mapping('bus')]: 2, [mapping('host_bridge')]: 1, [mapping('iommu')]: 1 };
  assert.deepEqual(contradictions(recorded, counted), []);
  assert.deepEqual(
    contradictions(recorded, { ...counted, [mapping('host_bridge')]: 2, [mapping('iommu')]: 0 }),
    ['mapping_routes_total of iommu: the tracer counted 0, the oracle counted 1'],
  );
});

test('a call that only the tracer or only the oracle counted is a contradiction', () => {
  assert.deepEqual(contradictions({ release: { '0': 1 } }, {}), [
    'releases_total: the tracer counted 0, the oracle counted 1',
  ]);
  assert.deepEqual(contradictions({}, { releases_total: 1 }), [
    'releases_total: the tracer counted 1, the oracle counted 0',
  ]);
});

test('only EFAULT of a map by address is a rejection, also of iommufd', () => {
  const byAddress =
    'import_rejections_total{device="a",errno="EFAULT",importer="iommufd",privacy="undeclared",reason="bad_address",stage="ioas_map"}';
  assert.deepEqual(contradictions({ ioas_map: { '0': 9, '-14': 1, '-12': 2 } }, { [byAddress]: 1 }), []);
  assert.equal(contradictions({ ioas_map: { '0': 9 } }, { [byAddress]: 1 }).length, 2);
});

test('as many calls may be missing as the kernel skipped probe runs, and none may be counted twice', () => {
  assert.deepEqual(contradictions({ release: { '0': 3 } }, { releases_total: 1 }, 2), []);
  assert.equal(contradictions({ release: { '0': 3 } }, {}, 2).length, 1);
  assert.equal(contradictions({ release: { '0': 1 } }, { releases_total: 2 }, 2).length, 1);
});

test('a bind that KVM rolls back is a rejection: counted as a success it contradicts the oracle', () => {
  const oracle = { bind: { '0': 1 }, slot: { '-12': 1 } };
  const rejected = 'import_rejections_total{errno="ENOMEM",importer="kvm",reason="rolled_back",stage="bind"}';
  assert.deepEqual(contradictions(oracle, { [rejected]: 1 }), []);
  assert.equal(contradictions(oracle, { 'imports_total{importer="kvm",stage="bind"}': 1 }).length, 2);
});

test('faults and zaps are compared with the oracle', () => {
  const oracle = { get_pfn: { '0': 2, '-5': 1 }, zap: { '0': 1 } };
  const counted = {
    'imports_total{importer="kvm",stage="get_pfn"}': 2,
    'import_rejections_total{importer="kvm",reason="revoked",stage="get_pfn"}': 1,
    'zaps_total{cause="reset"}': 1,
  };
  assert.deepEqual(contradictions(oracle, counted), []);
  assert.equal(contradictions(oracle, {}).length, 3);
});

test('calls before the first read of the oracle do not count', () => {
  assert.deepEqual(oracleSince({ bind: { '0': 1 } }, { bind: { '0': 1, '-22': 2 } }), { bind: { '-22': 2 } });
});

test('samples are matched by their labels in any order', () => {
  const before = parseSamples('# HELP x\nvfio_dmabuf_a_total{z="1",b="2"} 1\nother_total 5\n');
  const after = parseSamples('vfio_dmabuf_a_total{b="2",z="1"} 4\nvfio_dmabuf_up 1\n');
  assert.deepEqual(changed(before, after), { 'a_total{b="2",z="1"}': 3, up: 1 });
  assert.equal(total(after, 'a_total', 'z="1"'), 4);
});
