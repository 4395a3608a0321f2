import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { TracerError } from '../../src/lib/errors.ts';
import { Recorder } from '../../src/protocol/recorder.ts';
import { RecordingSource } from '../../src/protocol/recording.ts';
import { eventually } from '../fixtures/eventually.ts';
import { HEADER, heartbeat } from '../fixtures/stream-lines.ts';

const LINES = [HEADER, ...Array.from({ length: 2000 }, (_, index) => heartbeat(index, index * 7))];
const TEXT = `${LINES.join('\n')}\n`;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'recording-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

interface Read {
  lines: string[];
  dropped: string[];
  error: TracerError | null;
}

async function read(source: RecordingSource, signal = new AbortController().signal): Promise<Read> {
  const lines: string[] = [];
  const dropped: string[] = [];
  let error: TracerError | null = null;
  await source
    .run(
      ({ raw }) => lines.push(raw),
      signal,
      (why) => dropped.push(why),
    )
    .catch((caught: unknown) => {
      assert.ok(caught instanceof TracerError, String(caught));
      error = caught;
    });
  return { lines, dropped, error };
}

function file(t: TestContext, content: string | Buffer, name = 'stream'): RecordingSource {
  const path = join(folder(t), name);
  writeFileSync(path, content);
  return new RecordingSource({ path });
}

test('a plain recording can be read', async (t) => {
  assert.deepEqual(await read(file(t, TEXT)), { lines: LINES, dropped: [], error: null });
});

test('a gzip recording can be read under any file name', async (t) => {
  assert.deepEqual(await read(file(t, gzipSync(TEXT), 'stream.txt')), {
    lines: LINES,
    dropped: [],
    error: null,
  });
});

test('a recording can be read from standard input, also one byte at a time', async () => {
  const bytes = gzipSync(`${LINES.slice(0, 20).join('\n')}\n`);
  const stdin = Readable.from(Array.from(bytes, (byte) => Buffer.from([byte])));
  const { lines, error } = await read(new RecordingSource({ path: '-', stdin }));
  assert.equal(error, null);
  assert.deepEqual(lines, LINES.slice(0, 20));
});

test('a truncated last line is counted, and the other lines are read', async (t) => {
  const { lines, dropped, error } = await read(file(t, TEXT.slice(0, -5)));
  assert.deepEqual(
    { lines, dropped, error },
    { lines: LINES.slice(0, -1), dropped: ['truncated_line'], error: null },
  );
});

test('a gzip recording without its end gives all its lines and then an error', async (t) => {
  const path = join(folder(t), 'cut.gz');
  const recorder = new Recorder({ path, flushMs: 1 });
  await recorder.start();
  for (const line of LINES) recorder.write(line);
  await recorder.stop();
  const whole = readFileSync(path).length;
  truncateSync(path, whole - 8);
  const { lines, error } = await read(new RecordingSource({ path }));
  assert.equal(lines.length, LINES.length);
  assert.equal(error?.code, 'bad_recording');
  assert.match(error?.message ?? '', /is truncated/);
});

test('a gzip recording that is cut in the middle gives the lines before the cut', async (t) => {
  const packed = gzipSync(TEXT);
  const { lines, error } = await read(file(t, packed.subarray(0, packed.length / 2)));
  assert.ok(lines.length > 100, `${lines.length} lines`);
  assert.deepEqual(lines, LINES.slice(0, lines.length));
  assert.match(error?.message ?? '', /is truncated/);
});

test('a damaged gzip recording has another error than a truncated one', async (t) => {
  const packed = gzipSync(TEXT);
  packed.fill(0xff, 200, 260);
  const { error } = await read(file(t, packed));
  assert.equal(error?.code, 'bad_recording');
  assert.match(error?.message ?? '', /damaged/);
});

const rejected: [string, string, RegExp][] = [
  ['an empty file', '', /no header line/],
  ['a text', 'hello\nworld\n', /first line is not a header/],
  ['a stream without its header', `${heartbeat(1, 2)}\n`, /first line is not a header/],
  ['another format', '{"type":"header","data":{"format":7}}\n', /format is 7/],
];
for (const [name, content, message] of rejected) {
  test(`${name} is rejected as a recording`, async (t) => {
    const { lines, error } = await read(file(t, content));
    assert.deepEqual(lines, []);
    assert.equal(error?.code, 'bad_recording');
    assert.match(error?.message ?? '', message);
    assert.ok(error?.remedy);
  });
  test(`${name} in gzip is rejected as a recording`, async (t) => {
    assert.match((await read(file(t, gzipSync(content)))).error?.message ?? '', message);
  });
}

test('a missing file is a TracerError with the code file_unreadable', async (t) => {
  const { error } = await read(new RecordingSource({ path: join(folder(t), 'none') }));
  assert.equal(error?.code, 'file_unreadable');
  assert.match(String(error?.cause), /ENOENT/);
});

test('an abort ends the read without an error', async () => {
  const abort = new AbortController();
  const stdin = new Readable({ read() {} });
  stdin.push(`${HEADER}\n`);
  const reading = read(new RecordingSource({ path: '-', stdin }), abort.signal);
  setImmediate(() => abort.abort());
  assert.equal((await reading).error, null);
});

for (const name of ['stream.jsonl', 'stream.jsonl.gz']) {
  test(`the lines that are recorded into ${name} are read back unchanged`, async (t) => {
    const path = join(folder(t), name);
    const recorder = new Recorder({ path });
    await recorder.start();
    for (const line of LINES) recorder.write(line);
    await recorder.stop();
    await recorder.stop();
    assert.equal(recorder.written, LINES.length);
    assert.equal(recorder.dropped, 0);
    assert.equal(readFileSync(path)[0] === 0x1f, name.endsWith('.gz'));
    assert.deepEqual((await read(new RecordingSource({ path }))).lines, LINES);
  });

  test(`flushed lines of ${name} can be read before the recorder stops`, async (t) => {
    const path = join(folder(t), name);
    const recorder = new Recorder({ path, flushMs: 5 });
    t.after(() => recorder.stop());
    await recorder.start();
    for (const line of LINES.slice(0, 5)) recorder.write(line);
    await eventually(() => assert.equal(recorder.written, 5));
    const readBack = async () => (await read(new RecordingSource({ path }))).lines;
    // Compressed data reaches the file a little later.
    await eventually(async () => assert.deepEqual(await readBack(), LINES.slice(0, 5)));
  });
}

test('the recorder drops and counts lines beyond its buffer limit', async (t) => {
  const path = join(folder(t), 'stream');
  const recorder = new Recorder({ path, maxPendingBytes: 400, flushMs: 10_000 });
  await recorder.start();
  for (const line of LINES) recorder.write(line);
  await recorder.stop();
  assert.ok(recorder.written > 1);
  assert.equal(recorder.written + recorder.dropped, LINES.length);
  assert.deepEqual((await read(new RecordingSource({ path }))).lines, LINES.slice(0, recorder.written));
});

test('for an existing gzip file the recorder fails, uses a numbered name, or replaces the file', async (t) => {
  const path = join(folder(t), 'stream.ndjson.gz');
  const write = async (existing?: 'fail' | 'number' | 'replace') => {
    const recorder = new Recorder({ path, ...(existing === undefined ? {} : { existing }) });
    await recorder.start();
    recorder.write(HEADER);
    await recorder.stop();
    return recorder.path;
  };
  writeFileSync(path, 'old');
  await assert.rejects(write(), /the file exists/);
  assert.equal(readFileSync(path, 'utf8'), 'old');
  assert.equal(await write('number'), path.replace('stream.', 'stream.2.'));
  assert.equal(await write('number'), path.replace('stream.', 'stream.3.'));
  assert.equal(readFileSync(path, 'utf8'), 'old');
  assert.equal(await write('replace'), path);
  assert.equal(gunzipSync(readFileSync(path)).toString(), `${HEADER}\n`);
});

test('the recorder replaces a longer existing file completely', async (t) => {
  const path = join(folder(t), 'stream');
  appendFileSync(path, 'old\n'.repeat(1000));
  const recorder = new Recorder({ path, existing: 'replace' });
  await recorder.start();
  recorder.write(HEADER);
  await recorder.stop();
  assert.equal(readFileSync(path, 'utf8'), `${HEADER}\n`);
});

test('a path that cannot be written is a TracerError with the code file_unwritable', async (t) => {
  const recorder = new Recorder({ path: join(folder(t), 'none', 'stream') });
  await assert.rejects(recorder.start(), (error: unknown) => {
    return error instanceof TracerError && error.code === 'file_unwritable';
  });
  recorder.write('x');
  await recorder.stop();
  assert.equal(recorder.dropped, 1);
});

test('on a full disk the recorder drops lines and reports the error once, and stop resolves', async () => {
  const reported: Error[] = [];
  const recorder = new Recorder({
    path: '/dev/full',
    flushMs: 1,
    onFailure: (error) => reported.push(error),
  });
  await recorder.start();
  recorder.write(HEADER);
  await eventually(() => assert.notEqual(recorder.error, null));
  recorder.write(HEADER);
  await recorder.stop();
  assert.equal((recorder.error as NodeJS.ErrnoException).code, 'ENOSPC');
  assert.equal(recorder.dropped, 2);
  assert.deepEqual(reported, [recorder.error]);
});

test('the gzip output is one valid stream', async (t) => {
  const path = join(folder(t), 'x.gz');
  const recorder = new Recorder({ path });
  await recorder.start();
  recorder.write(HEADER);
  await recorder.stop();
  assert.equal(gunzipSync(readFileSync(path)).toString(), `${HEADER}\n`);
});

test('the reader yields to timers and an abort between slow lines', async (t) => {
  const stop = new AbortController();
  let lines = 0;
  await file(t, TEXT).run(() => {
    lines += 1;
    if (lines === 10) setTimeout(() => stop.abort(), 0);
    for (const end = performance.now() + 1; performance.now() < end; );
  }, stop.signal);
  assert.ok(lines >= 10 && lines < LINES.length / 4, String(lines));
});
