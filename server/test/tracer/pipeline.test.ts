import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LineSource } from '../../src/protocol/source.ts';
import type { DroppedLine } from '../../src/protocol/splitter.ts';
import { type StreamLine, streamLine } from '../../src/protocol/stream-line.ts';
import { Pipeline } from '../../src/tracer/pipeline.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { exported, HEADER, ready, released, starting } from '../fixtures/stream-lines.ts';

class FakeSource implements LineSource {
  readonly kind = 'replay';
  readonly name = 'fake';
  readonly #lines: readonly string[];

  constructor(lines: readonly string[]) {
    this.#lines = lines;
  }

  async run(
    onLine: (line: StreamLine) => void,
    _: AbortSignal,
    onDropped?: (why: DroppedLine) => void,
  ): Promise<void> {
    for (const line of this.#lines) onLine(streamLine(line));
    onDropped?.('oversized_line');
  }
}

const LINES = [HEADER, starting(1, 1), ready(2), exported({ t: 3, inode: 9 }), '{"broken', released(4, 9)];

test('the pipeline passes each record to the model and then to the subscribers', async () => {
  const failures: string[] = [];
  const thrown: unknown[] = [];
  const seen: string[] = [];
  const model = new TracerModel({ version: 'test', source: { kind: 'replay', name: 'fake' } });
  const pipeline = new Pipeline({
    source: new FakeSource(LINES),
    model,
    onFailure: ({ reason }) => failures.push(reason),
    onSubscriberError: (error) => thrown.push(error),
  });
  const unsubscribe = pipeline.subscribe(({ kind }) => {
    seen.push(`${kind} with ${model.status().buffers.live} live`);
    unsubscribe();
  });
  pipeline.subscribe(() => {
    throw new Error('subscriber');
  });
  pipeline.subscribe(({ kind }) => seen.push(kind));
  await pipeline.run(new AbortController().signal);
  assert.deepEqual(seen, ['export with 1 live', 'export', 'release']);
  assert.deepEqual(failures, ['not_json', 'oversized_line']);
  assert.equal(thrown.length, 2);
  assert.equal(model.accounting.decodeErrors.oversized_line, 1);
});

test('a line for which the model throws is counted and reported with the error, and the next line is applied', async () => {
  const model = new TracerModel({ version: 'test', source: { kind: 'replay', name: 'fake' } });
  const apply = model.apply.bind(model);
  const broken = new Error('a defect');
  model.apply = (record) => {
    if (record.type === 'release') throw broken;
    return apply(record);
  };
  const failures: unknown[] = [];
  const lines = [...LINES, exported({ t: 5, inode: 10 })];
  const source = new FakeSource(lines);
  const pipeline = new Pipeline({ source, model, onFailure: (...failure) => failures.push(failure) });
  await pipeline.run(new AbortController().signal);
  assert.deepEqual(failures[1], [
    { type: 'failure', reason: 'not_a_record', sample: released(4, 9) },
    broken,
  ]);
  assert.equal(model.accounting.decodeErrors.not_a_record, 1);
  assert.equal(model.buffer(10)?.state, 'live');
});

test('run rejects with the error of the source', async () => {
  const error = new Error('gone');
  const source: LineSource = { kind: 'live', name: 'x', run: () => Promise.reject(error) };
  const model = new TracerModel({ version: 'test', source });
  await assert.rejects(new Pipeline({ source, model }).run(new AbortController().signal), error);
});
