import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TracerModel } from '../../src/model/model.ts';
import { Pipeline } from '../../src/model/pipeline.ts';
import type { DroppedLine, LineSource } from '../../src/stream/source.ts';
import { exported, HEADER, ready, released, starting } from '../fixtures/stream-lines.ts';

class FakeSource implements LineSource {
  readonly kind = 'replay';
  readonly name = 'fake';
  readonly #lines: readonly string[];

  constructor(lines: readonly string[]) {
    this.#lines = lines;
  }

  async run(
    onLine: (line: string) => void,
    _: AbortSignal,
    onDropped?: (why: DroppedLine) => void,
  ): Promise<void> {
    for (const line of this.#lines) onLine(line);
    onDropped?.('oversized_line');
  }
}

const LINES = [HEADER, starting(1, 1), ready(2), exported({ t: 3, inode: 9 }), '{"broken', released(4, 9)];

test('a line goes to the tee, the model and the subscribers, in this order', async () => {
  const teed: string[] = [];
  const failures: string[] = [];
  const thrown: unknown[] = [];
  const seen: string[] = [];
  const model = new TracerModel({ version: 'test', source: { kind: 'replay', name: 'fake' } });
  const pipeline = new Pipeline({
    source: new FakeSource(LINES),
    model,
    tee: { write: (line) => teed.push(line) },
    onFailure: ({ reason }) => failures.push(reason),
    onSubscriberError: (error) => thrown.push(error),
  });
  const unsubscribe = pipeline.subscribe(({ kind }) => {
    seen.push(`${kind} with ${model.status().buffers.live} live after ${teed.length} lines`);
    unsubscribe();
  });
  pipeline.subscribe(() => {
    throw new Error('subscriber');
  });
  pipeline.subscribe(({ kind }) => seen.push(kind));
  await pipeline.run(new AbortController().signal);
  assert.deepEqual(teed, LINES);
  assert.deepEqual(seen, ['export with 1 live after 4 lines', 'export', 'release']);
  assert.deepEqual(failures, ['not_json', 'oversized_line']);
  assert.equal(thrown.length, 2);
  assert.equal(model.accounting.decodeErrors.oversized_line, 1);
});

test('what the source rejects with is what run rejects with', async () => {
  const error = new Error('gone');
  const source: LineSource = { kind: 'live', name: 'x', run: () => Promise.reject(error) };
  const model = new TracerModel({ version: 'test', source });
  await assert.rejects(new Pipeline({ source, model }).run(new AbortController().signal), error);
});
