import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { DroppedLine } from '../../src/contract/event-output.ts';
import type { Write } from '../../src/sinks/event-output.ts';
import { eventually } from '../fixtures/eventually.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { assertComplete, create, type Line, linesOf } from './created-output.ts';
import { release } from './events.ts';

function full(): NodeJS.ErrnoException {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
}

/** Writes at most `space` bytes, like a disk that is full then. */
function smallDisk(): { space: number; write: Write } {
  const disk = {
    space: Number.POSITIVE_INFINITY,
    write: async (fd: number, bytes: Buffer) => {
      const length = Math.min(bytes.length, disk.space);
      if (length === 0) throw full();
      disk.space -= length;
      return writeSync(fd, bytes, 0, length);
    },
  };
  return disk;
}

test('a line that a full disk has cut is completed when there is space, and a failure is logged once a minute', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  const disk = smallDisk();
  const { output, logged, clock } = create(t, path, { write: disk.write });
  await output.start();
  await eventually(() => assert.equal(linesOf(path).length, 1));
  for (let seq = 1; seq <= 3; seq++) {
    disk.space = 30 + seq;
    output.append(release(seq));
    await eventually(() => assert.equal(output.up, false));
    assert.doesNotMatch(readFileSync(path, 'utf8'), /\n$/);
    disk.space = 1_000_000;
    await eventually(() => assert.equal(output.written, seq));
    assert.equal(output.up, true);
    assertComplete(linesOf(path), seq);
  }
  const failures = () => logged.filter(({ level }) => level >= 50);
  assert.equal(failures().length, 1);
  assert.match(failures()[0]?.msg ?? '', /ENOSPC/);
  assert.equal(failures()[0]?.remedy, 'free disk space');
  assert.equal(logged.filter(({ msg }) => msg === 'events are written again').length, 1);
  clock.us += 60_000_000;
  disk.space = 0;
  output.append(release(4));
  await eventually(() => assert.equal(failures().length, 2));
  assert.ok((failures()[1]?.not_logged ?? 0) >= 2);
});

test('if the file is renamed while the disk is full, the cut line is whole in the new file', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  const disk = smallDisk();
  const { output } = create(t, path, { write: disk.write });
  await output.start();
  output.append(release(1));
  await eventually(() => assert.equal(output.written, 1));
  disk.space = 40;
  output.append(release(2));
  await eventually(() => assert.equal(output.up, false));
  output.reopen();
  renameSync(path, `${path}.1`);
  output.reopen();
  disk.space = 1_000_000;
  await eventually(() => assert.equal(output.written, 2));
  output.append(release(3));
  await output.stop();
  const old = readFileSync(`${path}.1`, 'utf8').split('\n');
  assert.deepEqual([old.length, old.at(-1)?.length], [3, 40]);
  assert.deepEqual(
    linesOf(path).map(({ seq }) => seq),
    [2, 3],
  );
});

test('events beyond the limit are dropped, counted and reported in their place', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  const disk = smallDisk();
  const { output, logged } = create(t, path, { write: disk.write, maxPendingBytes: 2000 });
  disk.space = 0;
  await output.start();
  for (let seq = 1; seq <= 100; seq++) output.append(release(seq));
  const { dropped } = output;
  assert.ok(dropped > 70 && dropped < 100);
  disk.space = 1_000_000;
  await eventually(() => assert.equal(output.written, 100 - dropped));
  output.append(release(101));
  await output.stop();
  const lines = linesOf(path);
  assertComplete(lines, 101);
  const gaps = lines.filter(({ kind }) => kind === 'dropped');
  assert.deepEqual(
    gaps.map(({ count, to_seq }) => [count, to_seq]),
    [[dropped, 100]],
  );
  const closed = Type.Object(DroppedLine.properties, { additionalProperties: false });
  assert.ok(Value.Check(closed, gaps[0]));
  assert.equal(logged.filter(({ msg }) => msg.startsWith('events are dropped')).length, 1);
});

/** As long as a timer can be: a stop that waits for it fails the test. */
const NEVER = { stopMs: 2 ** 31 - 1 };
const LIMIT = { timeout: 120_000 };

test(
  'a stop while the disk is full does not wait, and reports the events that were not written',
  LIMIT,
  async (t) => {
    const disk = smallDisk();
    const { output, logged } = create(t, join(await temporaryFolder(t), 'events'), {
      write: disk.write,
      ...NEVER,
    });
    disk.space = 0;
    await output.start();
    for (let seq = 1; seq <= 5; seq++) output.append(release(seq));
    await output.stop();
    assert.deepEqual(logged.at(-1), {
      ...logged.at(-1),
      missing: 5,
      written: 0,
      msg: 'the last events were not written',
    });
  },
);

/** Mounts a file system of 32 KiB; undefined if this user may not. */
function mounted(t: TestContext): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'small-'));
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=32k', 'none', folder]).status === 0;
  t.after(() => {
    if (isMounted) spawnSync('umount', ['-l', folder]);
    rmdirSync(folder);
  });
  return isMounted ? folder : undefined;
}

test('on a real full file system, events wait, and all are there when it has space again', async (t) => {
  const folder = mounted(t);
  if (folder === undefined) return t.skip('needs root');
  const path = join(folder, 'events');
  const { output } = create(t, path);
  writeFileSync(join(folder, 'filler'), Buffer.alloc(16_384));
  await output.start();
  for (let seq = 1; seq <= 500; seq++) output.append(release(seq));
  await eventually(() => assert.equal(output.up, false));
  assert.equal(statSync(path).size, 16_384);
  assert.doesNotMatch(readFileSync(path, 'utf8'), /\n$/);
  unlinkSync(join(folder, 'filler'));
  await eventually(() => assert.equal(statSync(path).size, 32_768));
  assert.equal(spawnSync('mount', ['-o', 'remount,size=1m', folder]).status, 0);
  await eventually(() => assert.equal(output.written, 500));
  assertComplete(linesOf(path), 500);
});

test('a full disk does not prevent the start', async (t) => {
  const folder = mounted(t);
  if (folder === undefined) return t.skip('needs root');
  assert.equal(spawnSync('mount', ['-o', 'remount,nr_inodes=2', folder]).status, 0);
  writeFileSync(join(folder, 'filler'), '');
  const { output, logged } = create(t, join(folder, 'events'));
  await output.start();
  output.append(release(1));
  assert.equal(output.up, false);
  assert.match(logged[0]?.msg ?? '', /ENOSPC/);
  unlinkSync(join(folder, 'filler'));
  await eventually(() => assert.equal(output.written, 1));
  assertComplete(linesOf(join(folder, 'events')), 1);
});

async function pipe(t: TestContext): Promise<string> {
  const path = join(await temporaryFolder(t), 'pipe');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  return path;
}

function reader(path: string): number {
  return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
}

/** Reads what is in the pipe. */
function readNow(fd: number): string {
  const buffer = Buffer.alloc(1 << 20);
  let text = '';
  try {
    for (let bytes = readSync(fd, buffer); bytes > 0; bytes = readSync(fd, buffer))
      text += buffer.toString('utf8', 0, bytes);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
  }
  return text;
}

test(
  'a named pipe without a reader delays neither start nor stop, and a later reader gets all events',
  LIMIT,
  async (t) => {
    const path = await pipe(t);
    const { output } = create(t, path, NEVER);
    await output.start();
    output.append(release(1));
    assert.equal(output.up, false);
    output.reopen();
    const reading = readFile(path, 'utf8');
    await eventually(() => assert.equal(output.written, 1));
    assert.equal(output.up, true);
    await output.stop();
    assert.equal((await reading).trimEnd().split('\n').length, 2);
    const waiting = create(t, path, NEVER).output;
    await waiting.start();
    await waiting.stop();
  },
);

test('a reader that stops reading costs events, which are counted, and none of them silently', async (t) => {
  const path = await pipe(t);
  const fd = reader(path);
  t.after(() => closeSync(fd));
  const { output, logged } = create(t, path, { maxPendingBytes: 100_000, ...NEVER });
  await output.start();
  let seq = 0;
  while (output.dropped < 100) {
    for (let index = 0; index < 100; index++) output.append(release(++seq));
    await new Promise(setImmediate);
  }
  let text = '';
  await eventually(() => {
    text += readNow(fd);
    assert.equal(output.written, seq - output.dropped);
  });
  output.append(release(++seq));
  await output.stop();
  text += readNow(fd);
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  assertComplete(lines, seq);
  assert.equal(output.up, true);
  assert.deepEqual(
    logged.filter(({ msg }) => !msg.startsWith('events are dropped')).map(({ msg }) => msg),
    ['events are written to this output'],
  );
});

test('after the reader of a pipe has closed it, the next reader gets the next lines', async (t) => {
  const path = await pipe(t);
  const first = reader(path);
  const { output, logged } = create(t, path);
  await output.start();
  output.append(release(1));
  await eventually(() => assert.equal(output.written, 1));
  readNow(first);
  closeSync(first);
  output.append(release(2));
  await eventually(() => assert.equal(output.up, false));
  assert.match(logged.at(-1)?.msg ?? '', /EPIPE/);
  const second = reader(path);
  t.after(() => closeSync(second));
  await eventually(() => assert.equal(output.written, 2));
  assert.equal((JSON.parse(readNow(second)) as Line).seq, 2);
});
