import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Catalogue, FAMILIES } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import { PREFIX } from '../../src/metrics/family.ts';
import { feed } from '../fixtures/feed.ts';
import { PRIVATE_VM } from '../fixtures/golden/private-vm.ts';
import { type ParsedFamily, parseExposition } from '../fixtures/parse-exposition.ts';
import {
  counterLine,
  counterLines,
  DEVICE,
  exported,
  HEADER,
  imported,
  ready,
  released,
  type StartingOptions,
  snapshot,
  snapshotBuffer,
  starting,
} from '../fixtures/stream-lines.ts';

async function scrape(lines: readonly string[], seriesLimit = 500): Promise<Map<string, ParsedFamily>> {
  const { model } = feed(lines, { seriesLimit });
  const text = await renderMetrics(new Catalogue({ model, processMetrics: false }), 'text');
  return new Map(parseExposition(text, 'text').map((family) => [family.name.slice(PREFIX.length), family]));
}

function tracing(options: StartingOptions = {}) {
  return [HEADER, starting(1_000_000, 1, options), ready(2_000_000)];
}

test('names and help texts follow the conventions of Prometheus', () => {
  for (const { name, help, type } of FAMILIES) {
    assert.match(name, /^[a-z][a-z0-9_]*$/);
    assert.equal(type === 'counter', name.endsWith('_total'), name);
    assert.ok(help.endsWith('.'), `HELP of ${name} is a sentence`);
  }
  assert.equal(new Set(FAMILIES.map(({ name }) => name)).size, FAMILIES.length);
});

test('the help of every family that counts kernel calls names a kernel function', async () => {
  for (const [name, { help }] of await scrape(PRIVATE_VM)) {
    if (
      /^(export|import|release|detach|revo|restor|private|policy|buffers|buffer_bytes|attach|lost)/.test(name)
    ) {
      assert.match(help, /(vfio|dma_buf|kvm)_\w+/, name);
    }
  }
});

test('the stream of a private VM has series for every family except six', async () => {
  const seen = [...(await scrape(PRIVATE_VM)).keys()];
  const { model } = feed(PRIVATE_VM);
  // A family is also absent if its probes are not attached in this stream.
  const present = FAMILIES.filter((family) => family.present?.(model) ?? true);
  assert.ok(present.length > 45);
  assert.deepEqual(
    present.map(({ name }) => name).filter((name) => !seen.includes(name)),
    [
      'late_releases_total',
      'mapping_routes_total',
      'private_data_read_rejections_total',
      'simulation_info',
      'recording_lines_dropped_total',
      'recording_up',
    ],
  );
});

test('each counter whose label values are all known exists with 0 before its first event', async () => {
  const families = await scrape(tracing());
  const series = (name: string) => families.get(name)?.samples.map(({ labels, value }) => [labels, value]);
  assert.deepEqual(series('releases_total'), [[{}, 0]]);
  assert.deepEqual(series('missed_returns_total'), [[{}, 0]]);
  assert.deepEqual(series('private_data_reads_total'), [
    [{ importer: 'kvm' }, 0],
    [{ importer: 'other' }, 0],
  ]);
  assert.deepEqual(series('policy_violations_total'), [
    [{ kind: 'accepted_not_vfio' }, 0],
    [{ kind: 'foreign_vm' }, 0],
    [{ kind: 'private_offered' }, 0],
    [{ kind: 'private_without_vm' }, 0],
  ]);
  assert.equal(series('events_total')?.length, 12);
  assert.equal(series('events_lost_total')?.length, 4);
  assert.equal(series('counts_lost_total')?.length, 3);
  assert.equal(series('decode_errors_total')?.length, 8);
  assert.equal(series('collector_restarts_total')?.length, 17);
  assert.ok(families.get('export_duration_seconds')?.samples.every(({ value }) => value === 0));
  assert.equal(families.get('export_duration_seconds')?.samples.length, 17);
});

test('attachments have the device and privacy of their buffer, also with an unknown importer', async () => {
  const families = await scrape([
    ...tracing(),
    exported({ t: 3_000_000, inode: 1, privacy: 'private' }),
    exported({ t: 3_000_001, inode: 2, device: DEVICE + 0x100, privacy: 'shared' }),
    imported({ t: 3_000_002, inode: 1, stage: 'attach', importer: 'kvm' }),
    imported({ t: 3_000_003, inode: 2, device: DEVICE + 0x100, stage: 'attach', importer: 'kvm' }),
    imported({ t: 3_000_004, inode: 2, device: DEVICE + 0x100, stage: 'attach', importer: 'kvm' }),
    snapshot(3_000_005, [
      snapshotBuffer({ inode: 1, privacy: 'private', attachments: 1 }),
      snapshotBuffer({ inode: 2, device: DEVICE + 0x100, attachments: 2 }),
      snapshotBuffer({ inode: 3, privacy: 'private', attachments: 1 }),
    ]),
  ]);
  assert.deepEqual(
    families.get('attachments')?.samples.map(({ labels, value }) => [labels, value]),
    [
      [{ device: '0000:41:00.0', privacy: 'private', importer: 'kvm' }, 1],
      [{ device: '0000:41:00.0', privacy: 'private', importer: 'unknown' }, 1],
      [{ device: '0000:42:00.0', privacy: 'shared', importer: 'kvm' }, 2],
    ],
  );
});

test('the families of private exports are absent on a kernel without private exports', async () => {
  const attached = ['export', 'release', 'attach', 'map', 'iommufd_map', 'detach', 'revoke'];
  const families = await scrape(tracing({ dialect: 'mainline', attached }));
  for (const name of [
    'private_data_reads_total',
    'private_data_read_rejections_total',
    'policy_violations_total',
    'zaps_total',
    'zap_duration_seconds',
  ]) {
    assert.equal(families.has(name), false, name);
  }
  assert.equal(families.has('releases_total'), true);
  assert.deepEqual(
    families
      .get('probe_attached')
      ?.samples.filter(({ value }) => value === 0)
      .map(({ labels }) => labels.probe),
    ['bind', 'fault', 'ioas_map', 'late_release', 'map_route', 'private_read', 'unbind', 'unmap', 'zap'],
  );
});

test('a family whose probe is not attached is absent', async () => {
  const families = await scrape([...tracing({ attached: ['export'] }), exported({ t: 3_000_000, inode: 9 })]);
  for (const name of ['releases_total', 'revocation_duration_seconds', 'lost_mappings', 'imports_total']) {
    assert.equal(families.has(name), false, name);
  }
  assert.equal(families.has('export_duration_seconds'), true);
  assert.equal(families.has('buffers'), true);
});

test('before the first line only the metrics of the tracer itself exist', async () => {
  const families = await scrape([]);
  assert.equal(families.get('up')?.samples[0]?.value, 0);
  assert.equal(families.has('releases_total'), false);
  assert.equal(families.get('last_map_read_timestamp_seconds')?.samples[0]?.value, 0);
});

test('missed returns are summed over restarts, and absent if no attached probe waits for a return', async () => {
  const missed = (count: number) => counterLine('missed', '0', count);
  const lines = [...tracing(), missed(2), missed(3), starting(5_000_000, 2), ready(6_000_000), missed(1)];
  assert.equal((await scrape(lines)).get('missed_returns_total')?.samples[0]?.value, 4);
  const without = await scrape(tracing({ attached: ['release', 'detach', 'unbind'] }));
  assert.equal(without.has('missed_returns_total'), false);
});

test('the series of a buffer are removed with its release', async () => {
  const lines = [...tracing(), exported({ t: 3_000_000, inode: 9 })];
  assert.equal((await scrape(lines)).get('buffers')?.samples.length, 1);
  assert.equal((await scrape([...lines, released(4_000_000, 9)])).has('buffers'), false);
});

test('the label metric of series_folded_total has only names of families', async () => {
  const names = new Set(FAMILIES.map(({ name }) => `${PREFIX}${name}`));
  for (const { labels } of (await scrape([])).get('series_folded_total')?.samples ?? []) {
    assert.ok(names.has(labels.metric ?? ''), labels.metric);
  }
});

test('the series of a family are limited, and folded label sets are counted', async () => {
  const keys = Object.fromEntries([1, 2, 3, 4].map((index) => [`${DEVICE + index},0`, index]));
  const exports = [1, 2, 3, 4].map((index) =>
    exported({ t: 3_000_000, inode: index, device: DEVICE + index }),
  );
  const families = await scrape([...tracing(), ...counterLines('exports', keys), ...exports], 2);
  assert.deepEqual(
    families.get('exports_total')?.samples.map(({ labels, value }) => [labels.device, value]),
    [
      ['0000:41:00.1', 1],
      ['0000:41:00.2', 2],
      ['other', 7],
    ],
  );
  assert.deepEqual(
    families.get('buffers')?.samples.map(({ labels, value }) => [labels.device, value]),
    [
      ['0000:41:00.1', 1],
      ['0000:41:00.2', 1],
      ['other', 2],
    ],
  );
  const folded = families.get('series_folded_total')?.samples;
  assert.equal(folded?.find(({ labels }) => labels.metric === 'vfio_dmabuf_exports_total')?.value, 2);
});

test('the buckets of every histogram are cumulative, and the last one is its count', async () => {
  const families = await scrape(PRIVATE_VM);
  for (const { name, type, samples } of families.values()) {
    if (type !== 'histogram') continue;
    let last = 0;
    for (const { name: sample, labels, value } of samples) {
      if (sample === `${name}_bucket`) {
        assert.ok(value >= last, sample);
        last = labels.le === '+Inf' ? 0 : value;
      }
      if (sample === `${name}_count`) {
        const { le: _, ...own } = labels;
        const inf = samples.find(
          (other) =>
            other.labels.le === '+Inf' &&
            JSON.stringify({ ...other.labels, le: undefined }) === JSON.stringify(own),
        );
        assert.equal(inf?.value, value);
      }
    }
  }
});

test('process metrics exist if they are enabled, without the gauges that end in _total', async () => {
  const { model } = feed(tracing());
  const catalogue = new Catalogue({ model, processMetrics: true });
  const text = await renderMetrics(catalogue, 'openmetrics');
  const families = parseExposition(text, 'openmetrics');
  const names = families.map(({ name }) => name);
  assert.ok(names.includes('process_cpu_seconds'));
  assert.ok(names.includes('nodejs_heap_size_used_bytes'));
  assert.equal(text.includes('nodejs_active_handles_total'), false);
});

test('families that another part adds are rendered after those of the model', async () => {
  const { model } = feed(tracing());
  const catalogue = new Catalogue({ model, processMetrics: false });
  catalogue.add({
    name: 'sse_clients',
    help: 'Clients.',
    type: 'gauge',
    samples: () => [{ labels: {}, value: 3 }],
  });
  const text = await renderMetrics(catalogue, 'text');
  assert.ok(text.endsWith('# TYPE vfio_dmabuf_sse_clients gauge\nvfio_dmabuf_sse_clients 3\n'));
  assert.throws(() => catalogue.add({ name: 'up', help: 'x', type: 'gauge', samples: () => [] }), /already/);
});

test('two catalogues in one process do not share metrics', async () => {
  const one = new Catalogue({ model: feed(tracing()).model, processMetrics: true });
  const two = new Catalogue({ model: feed([]).model, processMetrics: true });
  assert.match(await renderMetrics(one, 'text'), /vfio_dmabuf_up 1/);
  assert.match(await renderMetrics(two, 'text'), /vfio_dmabuf_up 0/);
});
