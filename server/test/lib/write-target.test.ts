import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { TracerError } from '../../src/lib/errors.ts';
import { type Existing, openTarget, type WriteTarget } from '../../src/lib/write-target.ts';
import { Recorder } from '../../src/protocol/recorder.ts';
import { eventually } from '../fixtures/eventually.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { HEADER } from '../fixtures/stream-lines.ts';

const never = new AbortController().signal;

async function opened(path: string, existing: Existing = 'fail'): Promise<WriteTarget> {
  const target = await openTarget(path, existing, never);
  assert.ok(target !== null);
  return target;
}

function end({ sink }: WriteTarget, text: string) {
  return new Promise<void>((resolve) => sink.end(text, () => sink.once('close', resolve)));
}

function isUnwritable(what: RegExp) {
  return (error: unknown) =>
    error instanceof TracerError && error.code === 'file_unwritable' && what.test(error.describe());
}

async function pipe(t: TestContext): Promise<string> {
  const path = join(await temporaryFolder(t), 'pipe');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  return path;
}

test('a new file is readable for its owner only, whatever the umask is', async (t) => {
  const path = join(await temporaryFolder(t), 'new');
  const before = process.umask(0);
  t.after(() => process.umask(before));
  await end(await opened(path), 'text');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readFileSync(path, 'utf8'), 'text');
});

for (const existing of ['fail', 'number', 'replace'] as const) {
  test(`a symbolic link is not followed, whatever its target is (${existing})`, async (t) => {
    const folder = await temporaryFolder(t);
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'precious');
    for (const [name, target] of [
      ['to-file', victim],
      ['to-nothing', join(folder, 'nothing')],
      ['to-folder', folder],
      ['to-itself', 'to-itself'],
    ] as const) {
      const link = join(folder, name);
      symlinkSync(target, link);
      await assert.rejects(openTarget(link, existing, never), (error) => {
        return error instanceof TracerError && error.code === 'file_unwritable';
      });
    }
    assert.equal(readFileSync(victim, 'utf8'), 'precious');
    assert.equal(existsSync(join(folder, 'nothing')), false);
  });
}

test('a link to a device or a pipe is followed only if no other user can have created it', async (t) => {
  const folder = await temporaryFolder(t);
  const link = join(folder, 'port');
  symlinkSync('/dev/null', link);
  chmodSync(folder, 0o700);
  await end(await opened(link), 'x');
  chmodSync(folder, 0o1777);
  await assert.rejects(openTarget(link, 'fail', never), isUnwritable(/symbolic link, which is not followed/));
});

test('an existing file is kept unless it is to be replaced, and a hard link to it keeps its text', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'stream.ndjson.gz');
  const other = join(folder, 'other');
  writeFileSync(path, 'old', { mode: 0o644 });
  linkSync(path, other);
  await assert.rejects(
    openTarget(path, 'fail', never),
    isUnwritable(/the file exists and is kept\n.*\n.*--overwrite/),
  );
  const second = await opened(path, 'number');
  assert.equal(second.path, join(folder, 'stream.2.ndjson.gz'));
  const third = await opened(path, 'number');
  assert.equal(third.path, join(folder, 'stream.3.ndjson.gz'));
  await Promise.all([end(second, '2'), end(third, '3')]);
  assert.equal(readFileSync(path, 'utf8'), 'old');
  await end(await opened(path, 'replace'), 'new');
  assert.equal(readFileSync(path, 'utf8'), 'new');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readFileSync(other, 'utf8'), 'old', 'a hard link to the old file has its old text');
});

test('an empty file counts as existing, and a name without a suffix gets its number at the end', async (t) => {
  const path = join(await temporaryFolder(t), '.hidden');
  writeFileSync(path, '');
  await assert.rejects(openTarget(path, 'fail', never), isUnwritable(/exists/));
  const target = await opened(path, 'number');
  assert.equal(target.path, `${path}.2`);
  await end(target, '');
});

test('a folder and a path in a missing folder are errors', async (t) => {
  const folder = await temporaryFolder(t);
  mkdirSync(join(folder, 'in'));
  await assert.rejects(openTarget(join(folder, 'in'), 'replace', never), isUnwritable(/it is a folder/));
  await assert.rejects(openTarget(join(folder, 'none', 'x'), 'fail', never), isUnwritable(/ENOENT/));
});

test('opening a named pipe without a reader does not block, and ends with the abort signal', async (t) => {
  const path = await pipe(t);
  const stop = new AbortController();
  let waits = 0;
  const opening = openTarget(path, 'fail', stop.signal, () => {
    waits += 1;
  });
  await eventually(() => assert.equal(waits, 1));
  await wait(250);
  assert.equal(waits, 1);
  stop.abort();
  assert.equal(await opening, null);
});

test('a named pipe is written to when it has a reader, and is not a file', async (t) => {
  const path = await pipe(t);
  const opening = opened(path);
  const reading = readFile(path, 'utf8');
  const target = await opening;
  assert.equal(target.isFile, false);
  await end(target, 'through the pipe');
  assert.equal(await reading, 'through the pipe');
});

/** Opens the pipe for reading, and does not read. */
function reader(t: TestContext, path: string): number {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  t.after(() => closeSync(fd));
  return fd;
}

test('a full pipe does not occupy a thread, and all pending text arrives when it is read', async (t) => {
  const path = await pipe(t);
  const fd = reader(t, path);
  const text = 'x'.repeat(300_000);
  const ended = end(await opened(path), text);
  // Each of these reads needs a thread of the pool.
  await Promise.all(Array.from({ length: 16 }, () => readFile('/proc/self/stat')));
  const buffer = Buffer.alloc(65_536);
  let bytes = 0;
  await eventually(() => {
    try {
      bytes += readSync(fd, buffer);
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
    }
    assert.equal(bytes, text.length);
  });
  await ended;
});

test('a recorder whose reader stops reading can stop, and counts the lines that it did not write', async (t) => {
  const path = await pipe(t);
  reader(t, path);
  const recorder = new Recorder({ path, stopMs: 50 });
  await recorder.start();
  const line = 'x'.repeat(10_000);
  for (let index = 0; index < 100; index++) recorder.write(line);
  // Without a limit it would wait for its reader.
  await recorder.stop();
  assert.ok(recorder.dropped > 0);
  assert.equal(recorder.written + recorder.dropped, 100);
});

test('a recorder with a queue accepts lines before it has a reader, and the reader gets all of them', async (t) => {
  const path = await pipe(t);
  const waited: string[] = [];
  const recorder = new Recorder({ path, queue: true, onWait: (file) => waited.push(file) });
  await recorder.start();
  assert.deepEqual(waited, [path]);
  for (const line of [HEADER, 'second']) recorder.write(line);
  const reading = readFile(path, 'utf8');
  await eventually(() => assert.equal(recorder.written, 2));
  recorder.write('third');
  await recorder.stop();
  assert.equal(await reading, `${HEADER}\nsecond\nthird\n`);
  assert.equal(recorder.dropped, 0);
});

test('a recorder with a queue drops lines beyond its limit, and stops without a reader', async (t) => {
  const recorder = new Recorder({ path: await pipe(t), queue: true, maxPendingBytes: 25 });
  await recorder.start();
  for (let index = 0; index < 5; index++) recorder.write('123456789');
  assert.equal(recorder.dropped, 3);
  await recorder.stop();
  assert.deepEqual([recorder.written, recorder.dropped], [0, 5]);
});

test('a character device is written to under its path', async () => {
  for (const path of ['/dev/null', '/proc/self/fd/2']) {
    const target = await opened(path);
    assert.equal(target.path, path);
    await end(target, '');
  }
});
