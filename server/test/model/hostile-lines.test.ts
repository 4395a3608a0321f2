import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Catalogue } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import { topologyOf } from '../../src/model/topology.ts';
import { wellFormed } from '../../src/protocol/repair.ts';
import type { LineSource } from '../../src/protocol/source.ts';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { Pipeline } from '../../src/tracer/pipeline.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { PRIVATE_VM } from '../fixtures/golden/private-vm.ts';
import { parseExposition } from '../fixtures/parse-exposition.ts';
import {
  bufferState,
  collectorLine,
  detached,
  exited,
  exported,
  HEADER,
  heartbeat,
  imported,
  ready,
  released,
  snapshot,
  snapshotBuffer,
  starting,
  untraceable,
} from '../fixtures/stream-lines.ts';

const RECORDINGS = fileURLToPath(new URL('../../../recordings', import.meta.url));
const T = 3_000_000;

/** Runs the lines through a pipeline and renders every answer that is served from the model. */
async function run(lines: readonly string[]) {
  const bad: { sample: string; error?: unknown }[] = [];
  const applied: string[] = [];
  const model = new TracerModel({ version: 'test', source: { kind: 'replay', name: 'hostile' } });
  const apply = model.apply.bind(model);
  model.apply = (record) => {
    const events = apply(record);
    if (record.type !== 'failure') applied.push(record.type);
    return events;
  };
  const source: LineSource = {
    kind: 'replay',
    name: 'hostile',
    run: async (onLine) => {
      for (const line of lines) onLine(streamLine(line));
    },
  };
  const pipeline = new Pipeline({
    source,
    model,
    onFailure: ({ sample }, error) => bad.push(error === undefined ? { sample } : { sample, error }),
  });
  await pipeline.run(new AbortController().signal);
  JSON.stringify([model.status(), model.buffers(), model.incidents.all(), model.history(), [...model.vms()]]);
  topologyOf(model.aliveStates(), 1000);
  const text = await renderMetrics(new Catalogue({ model, processMetrics: false }), 'text');
  return { model, bad, applied, text };
}

function counted(model: TracerModel): number {
  return Object.values(model.accounting.decodeErrors).reduce((sum, count) => sum + count, 0);
}

/** The number of seeds: `FUZZ_SEEDS=500 node tools/run-tests.mjs server/test/model/hostile-lines.test.ts`. */
const SEEDS = Number(process.env.FUZZ_SEEDS ?? 12);
const BEGIN = [HEADER, starting(1_000_000, 1), ready(2_000_000)];

test('a snapshot may count any number of attachments', async () => {
  for (const attachments of [130_000, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
    const { model, text } = await run([...BEGIN, snapshot(T, [snapshotBuffer({ inode: 9, attachments })])]);
    assert.equal(model.buffer(9)?.attachment_count, attachments);
    assert.match(
      text,
      new RegExp(`^vfio_dmabuf_attachments\\{[^}]*importer="unknown"\\} ${attachments}$`, 'm'),
    );
  }
});

test('a snapshot keeps the 200,000 attachments of a buffer that were known from events', async () => {
  const lines = [...BEGIN, exported({ t: T, inode: 9 })];
  for (let index = 0; index < 200_000; index += 1)
    lines.push(imported({ t: T + index, inode: 9, stage: 'attach', importer: 'mlx5_core' }));
  lines.push(snapshot(T + 300_000, [snapshotBuffer({ inode: 9, attachments: 1024 })]));
  lines.push(detached(T + 400_000, 9, 'mlx5_core'));
  const { model, bad } = await run(lines);
  assert.equal(model.buffer(9)?.attachment_count, 199_999);
  assert.deepEqual(bad, []);
});

test('an importer name that is longer than bpftrace prints is rejected and does not become a label', async () => {
  const lines = [...BEGIN, exported({ t: T, inode: 9 })];
  lines.push(imported({ t: T, inode: 9, stage: 'attach', importer: 'x'.repeat(400_000) }));
  const { model, text } = await run(lines);
  assert.equal(model.accounting.decodeErrors.bad_fields, 1);
  assert.ok(text.length < 100_000);
});

test('an open or closed incident names the first 64 importers and has the number of the others', async () => {
  const lines = [...BEGIN, exported({ t: T, inode: 9, pid: 100 })];
  for (let index = 0; index < 100; index += 1)
    lines.push(imported({ t: T + index, inode: 9, stage: 'attach', importer: `importer-${index}` }));
  lines.push(collectorLine('exit', { t: T + 1000, pid: 100 }), heartbeat(T + 30_000_000, 101));
  const open = (await run(lines)).model.incidents.all();
  const over = (await run([...lines, released(T + 40_000_000, 9)])).model.incidents.all();
  for (const [incident] of [open, over]) {
    assert.equal(incident?.kind, 'orphaned');
    assert.equal(incident?.importers.length, 64);
    assert.match(incident?.sentence ?? '', /held by importer-0, .*, importer-63, and 36 more\./);
  }
  assert.deepEqual([open[0]?.state, over[0]?.state], ['open', 'closed']);
});

test('a revocation that waits for many importers names the first 64', async () => {
  const lines = [...BEGIN, exported({ t: T, inode: 9 })];
  for (let index = 0; index < 100; index += 1) {
    lines.push(imported({ t: T + index, inode: 9, stage: 'attach', importer: `importer-${index}` }));
    lines.push(imported({ t: T + index, inode: 9, stage: 'map', importer: `importer-${index}` }));
  }
  lines.push(bufferState(T + 1000, 9, true), heartbeat(T + 5_000_000, 202));
  const [incident] = (await run(lines)).model.incidents.all();
  assert.equal(incident?.kind, 'revoke_waiting');
  assert.equal(incident?.importers.length, 64);
  assert.match(incident?.sentence ?? '', /importer-63 to unmap buffer 9, and 36 more\./);
});

test('the number of probe names that a stream can add is limited', async () => {
  const probes = (from: number) =>
    Array.from({ length: 1000 }, (_, index) => ({
      probe: `probe-${from + index}`,
      function: 'f',
      module: null,
      attached: true,
      reason: null,
    }));
  const lines = [...BEGIN];
  for (let from = 0; from < 10_000; from += 1000) {
    const common = { t: T + from, generation: 1, state: 'changed' as const, probes: probes(from) };
    lines.push(collectorLine('child', { ...common, blind: probes(from).map(({ probe }) => probe) }));
  }
  const { model } = await run(lines);
  const known = Array.from({ length: 10_000 }, (_, index) => model.wasAttached(`probe-${index}`));
  assert.ok(known.filter(Boolean).length <= 1024);
});

/** mulberry32: returns the same numbers for the same seed on any machine. */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

/** Replacements for a value. */
const VALUES = [
  'null',
  'true',
  '-0',
  '-1',
  '1e3',
  '1e400',
  '0.5',
  '9007199254740993',
  '18446744073709551615',
  '"18446744073709551616"',
  '"01"',
  '""',
  '"\\ud800"',
  '"\\uffffffc3"',
  '{}',
  '[]',
  '{"toString":1,"valueOf":1}',
  '{"__proto__":{"length":1}}',
  '"0xffffffff81234567"',
  `"${'x'.repeat(300)}"`,
  `${'['.repeat(2000)}${']'.repeat(2000)}`,
];

/** Strings, numbers, and the text between them. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+|[^"\d]+/g;

/** Makes one small change to a line. */
function mutate(line: string, other: string, next: (limit: number) => number): string {
  const tokens = line.match(TOKEN) ?? [line];
  const at = next(tokens.length);
  switch (next(10)) {
    case 0:
      return tokens.toSpliced(at, 1).join('');
    case 1:
      return tokens.toSpliced(at, 0, tokens[next(tokens.length)] ?? '').join('');
    case 2:
      return line.slice(0, next(line.length));
    case 3: {
      const cut = next(line.length);
      return `${line.slice(0, cut)}${String.fromCharCode(next(0x10000))}${line.slice(cut + 1)}`;
    }
    case 4:
      return `${line.slice(0, next(line.length))}${other.slice(next(other.length))}`;
    case 5:
      return tokens
        .map((token) => (/^-?\d+$/.test(token) && next(4) === 0 ? String(next(6)) : token))
        .join('');
    default: {
      // Replaces one value. A token before a colon is a field name.
      const values = tokens.flatMap((token, index) =>
        /^["\d-]/.test(token) && !tokens[index + 1]?.startsWith(':') ? [index] : [],
      );
      return tokens.with(values[next(values.length)] ?? at, VALUES[next(VALUES.length)] ?? '').join('');
    }
  }
}

/** The type of a line, or the tag of its tuple. */
function kindOf(line: string): string {
  return /^\{"type": ?"(?:value", ?"data": ?\[)?(\w+)/.exec(line)?.[1] ?? '';
}

test('each line of a mutated stream is applied or counted as bad, nothing throws, and all answers are valid', async () => {
  const recorded = ['busy-hour', 'private-v2-undeclared', 'revoke-slow-importer', 'owner-killed', 'vm-kinds']
    .map((name) => readdirSync(RECORDINGS).find((file) => file.startsWith(name) && file.endsWith('.ndjson')))
    .flatMap((file) =>
      file === undefined ? [] : readFileSync(join(RECORDINGS, file), 'utf8').trimEnd().split('\n'),
    );
  const valid = [
    ...PRIVATE_VM,
    ...recorded,
    untraceable(T),
    exited(T, 1),
    '{"type": "helper_error", "msg": "x", "helper": "map_update_elem", "retcode": -7, "line": 1, "col": 1}',
    '{"type": "runtime_error", "msg": "division by 0"}',
    '{"type": "lost_events", "data": {"events": 3}}',
    collectorLine('device_gone', { t: T, device: '0000:41:00.0' }),
    collectorLine('loss', { t: T, stage: 'queue', count: 2 }),
    snapshot(T, [snapshotBuffer({ inode: 5, holders: [{ pid: 1, comm: 'a', fds: 1 }] })]),
  ];
  assert.ok(recorded.length > 50);
  const byKind = new Map<string, string[]>();
  for (const line of valid) byKind.set(kindOf(line), [...(byKind.get(kindOf(line)) ?? []), line]);
  const kinds = [...byKind.values()];
  assert.ok(kinds.length > 20);
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const next = numbers(seed);
    // Picks each kind with the same probability.
    const pick = (): string => {
      const lines = kinds[next(kinds.length)] ?? [];
      return lines[next(lines.length)] ?? '';
    };
    const lines = [HEADER];
    for (let count = 0; count < 1500; count += 1) {
      const line = next(3) === 0 ? pick() : mutate(pick(), pick(), next);
      if (line.trim() !== '') lines.push(line);
    }
    const { model, bad, applied, text } = await run(lines);
    assert.deepEqual(
      bad.filter((one) => 'error' in one),
      [],
      `seed ${seed}: the model threw`,
    );
    assert.equal(bad.length + applied.length, lines.length, `seed ${seed}`);
    // A counter line may decode and still be bad, because of the lines before it.
    assert.ok(counted(model) >= bad.length, `seed ${seed}`);
    const names = new Set<string>();
    for (const { samples } of parseExposition(text, 'text')) {
      for (const { name, labels } of samples) {
        const key = wellFormed(JSON.stringify([name, Object.entries(labels)]));
        assert.ok(!names.has(key), `seed ${seed}: ${key} exists twice`);
        names.add(key);
      }
    }
    assert.ok(!/ NaN$|"undefined"/m.test(text), `seed ${seed}`);
  }
});
