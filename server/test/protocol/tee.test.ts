import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TracerError } from '../../src/lib/errors.ts';
import { Recorder } from '../../src/protocol/recorder.ts';
import { RecordingSource } from '../../src/protocol/recording.ts';
import type { LineSource } from '../../src/protocol/source.ts';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { tee } from '../../src/protocol/tee.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { exported, HEADER, heartbeat, ready } from '../fixtures/stream-lines.ts';
import { metricsOf } from './metrics-of.ts';

const LINES = [HEADER, ready(1_100_000), exported({ t: 2_000_000, inode: 7 }), heartbeat(3_000_000, 1)];
const never = new AbortController().signal;

function source(lines: readonly string[], run?: () => void): LineSource {
  return {
    kind: 'live',
    name: 'bpftrace',
    run: async (onLine, _signal, onDropped) => {
      run?.();
      onDropped?.('oversized_line');
      for (const line of lines) onLine(streamLine(line));
    },
  };
}

test('each line is recorded before it is passed on, and the kind and name of the source stay the same', async () => {
  const calls: string[] = [];
  const recorder = {
    start: async () => void calls.push('start'),
    write: (line: string) => void calls.push(`recorded ${line}`),
    stop: async () => void calls.push('stop'),
  } as unknown as Recorder;
  const both = tee(source(['a', 'b']), recorder);
  assert.deepEqual([both.kind, both.name], ['live', 'bpftrace']);
  await both.run(
    ({ raw }) => calls.push(`applied ${raw}`),
    never,
    (why) => calls.push(why),
  );
  const order = ['start', 'oversized_line', 'recorded a', 'applied a', 'recorded b', 'applied b', 'stop'];
  assert.deepEqual(calls, order);
});

test('a replay of the recording gives the same metrics as the live source', async (t) => {
  const path = join(await temporaryFolder(t), 'stream.jsonl.gz');
  const recorder = new Recorder({ path });
  const served = await metricsOf(tee(source(LINES), recorder));
  assert.deepEqual([recorder.written, recorder.dropped], [LINES.length, 0]);
  const replayed = await metricsOf(new RecordingSource({ path }));
  // The source reports a dropped line by a callback, so the recording does not have it.
  assert.equal(replayed, served.replace('reason="oversized_line"} 1', 'reason="oversized_line"} 0'));
  assert.match(served, /^vfio_dmabuf_buffers\{.*\} 1$/m);
});

test('a recorder that drops lines does not delay the source', async (t) => {
  const path = join(await temporaryFolder(t), 'stream');
  const recorder = new Recorder({ path, maxPendingBytes: 1 });
  const applied: string[] = [];
  await tee(source(LINES), recorder).run(({ raw }) => applied.push(raw), never);
  assert.deepEqual(applied, LINES);
  assert.deepEqual([recorder.written, recorder.dropped], [0, LINES.length]);
});

test('a path that cannot be written fails before the source is started', async (t) => {
  const path = join(await temporaryFolder(t), 'none', 'stream');
  let started = false;
  const run = tee(
    source(LINES, () => {
      started = true;
    }),
    new Recorder({ path }),
  ).run(() => {}, never);
  await assert.rejects(run, (error) => error instanceof TracerError && error.code === 'file_unwritable');
  assert.equal(started, false);
});

test('lines from before a failure of the source are in the file', async (t) => {
  const path = join(await temporaryFolder(t), 'stream');
  const broken: LineSource = {
    ...source([]),
    run: async (onLine) => {
      onLine(streamLine(HEADER));
      throw new TracerError('child_failed', 'gone');
    },
  };
  await assert.rejects(
    tee(broken, new Recorder({ path })).run(() => {}, never),
    /gone/,
  );
  assert.equal(readFileSync(path, 'utf8'), `${HEADER}\n`);
});
