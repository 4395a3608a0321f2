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

test('calls before the first read of the oracle do not count', () => {
  assert.deepEqual(oracleSince({ bind: { '0': 1 } }, { bind: { '0': 1, '-22': 2 } }), { bind: { '-22': 2 } });
});

test('samples are matched by their labels in any order', () => {
  const before = parseSamples('# HELP x\nvfio_dmabuf_a_total{z="1",b="2"} 1\nother_total 5\n');
  const after = parseSamples('vfio_dmabuf_a_total{b="2",z="1"} 4\nvfio_dmabuf_up 1\n');
  assert.deepEqual(changed(before, after), { 'a_total{b="2",z="1"}': 3, up: 1 });
  assert.equal(total(after, 'a_total', 'z="1"'), 4);
});
