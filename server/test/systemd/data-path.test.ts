import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { DataPath } from '../../src/systemd/data-path.ts';
import {
  ALL_PROBES,
  collectorLine,
  exited,
  readEnd,
  ready,
  starting,
  untraceable,
} from '../fixtures/stream-lines.ts';

const LIMIT_MS = 10_000;

function dataPath() {
  let nowMs = 1000;
  const path = new DataPath({ nowMs: () => nowMs });
  return {
    path,
    take: (...lines: string[]) => {
      for (const line of lines) path.observe(streamLine(line).record);
    },
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

test('the path is broken if no counters are read while bpftrace traces', () => {
  const { path, take, pass } = dataPath();
  take(starting(0, 1), ready(1), readEnd(2, 0));
  pass(LIMIT_MS);
  assert.equal(path.problem(LIMIT_MS), null);
  pass(1);
  assert.match(path.problem(LIMIT_MS) ?? '', /no counters were read for 10 s/);
  take(readEnd(3, 0));
  assert.equal(path.problem(LIMIT_MS), null);
});

for (const [what, line] of [
  ['bpftrace starts', starting(3, 2)],
  ['bpftrace has ended', exited(3, 1)],
  ['the host cannot be traced', untraceable(3)],
  ['a new connection begins', collectorLine('joined', { stream: 'a', next: 0, missed: 0, state: 0, t: 3 })],
] as const) {
  test(`no counter read is expected when ${what}`, () => {
    const { path, take, pass } = dataPath();
    take(starting(0, 1), ready(1), readEnd(2, 0), line);
    pass(LIMIT_MS * 100);
    assert.equal(path.problem(LIMIT_MS), null);
    take(starting(4, 3), readEnd(4, 0));
    pass(LIMIT_MS + 1);
    assert.notEqual(path.problem(LIMIT_MS), null);
  });
}

test('the text says what bpftrace does', () => {
  const { path, take } = dataPath();
  const texts = [path.text];
  for (const line of [starting(0, 1), readEnd(1, 0), exited(2, 1), untraceable(3)]) {
    take(line);
    texts.push(path.text);
  }
  const probes = `${ALL_PROBES.length} of ${ALL_PROBES.length} probes`;
  assert.deepEqual(texts.slice(0, 3), [
    'starting',
    `bpftrace is starting with ${probes}`,
    `tracing with ${probes}`,
  ]);
  assert.match(texts[3] ?? '', /^bpftrace does not run: ./);
  assert.match(texts[4] ?? '', /^this host cannot be traced: ./);
});
