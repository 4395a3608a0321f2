import assert from 'node:assert/strict';
import { link, mkdir, readdir, readFile, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { TracerError } from '../../src/lib/errors.ts';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { eventually } from '../fixtures/eventually.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { HEADER, heartbeat, starting } from '../fixtures/stream-lines.ts';
import { collecting, joinedBy, path, reading, SECOND, TRACING } from './collecting.ts';

function isUnavailable(text: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof TracerError && error.code === 'address_unavailable' && text.test(error.describe());
}

test('the socket has mode 0660, nothing else is left in its folder, and it is removed at the stop', async (t) => {
  const at = await path(t);
  const gid = process.getgroups?.().at(-1) ?? 0;
  const { socket } = await collecting(t, at, { gid });
  const found = await stat(at);
  assert.equal(found.mode & 0o777, 0o660);
  assert.equal(found.gid, gid);
  assert.ok(found.isSocket());
  assert.deepEqual(await readdir(join(at, '..')), ['stream.sock']);
  await socket.stop();
  assert.deepEqual(await readdir(join(at, '..')), []);
});

test('the folder of the socket is created, but not the folder above it', async (t) => {
  const folder = await temporaryFolder(t);
  const { socket } = await collecting(t, join(folder, 'run', 'stream.sock'));
  assert.equal((await stat(join(folder, 'run'))).mode & 0o777, 0o755 & ~process.umask());
  await socket.stop();
  await assert.rejects(
    collecting(t, join(folder, 'none', 'run', 'stream.sock')),
    isUnavailable(/ENOENT[\s\S]*where: .*stream\.sock[\s\S]*fix: create the folder/),
  );
});

test('a socket on which nobody answers is replaced, and one on which a collector answers is kept', async (t) => {
  const at = await path(t);
  const first = await collecting(t, at);
  await assert.rejects(collecting(t, at), isUnavailable(/another collector listens/));
  const reader = reading(t, at);
  await joinedBy(first);
  first.write(...TRACING);
  await eventually(() => assert.deepEqual(reader.raws(), TRACING));
  await reader.stop();
  await first.socket.stop();

  // A collector that was killed leaves its socket behind. Node removes the name under which a server was created.
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(join(at, '..', 'dead'), resolve));
  await link(join(at, '..', 'dead'), at);
  await new Promise((resolve) => dead.close(resolve));
  assert.ok((await stat(at)).isSocket());
  const second = await collecting(t, at);
  const other = reading(t, at);
  await joinedBy(second);
  second.write(...TRACING);
  await eventually(() => assert.deepEqual(other.raws(), TRACING));
});

test('a file, a folder or a link at the path is kept', async (t) => {
  const folder = await temporaryFolder(t);
  const at = join(folder, 'stream.sock');
  await writeFile(at, 'important');
  await assert.rejects(collecting(t, at), isUnavailable(/is not a socket; it is kept/));
  assert.equal(await readFile(at, 'utf8'), 'important');
  await mkdir(join(folder, 'directory.sock'));
  await assert.rejects(collecting(t, join(folder, 'directory.sock')), isUnavailable(/is not a socket/));
  await symlink(at, join(folder, 'link.sock'));
  await assert.rejects(collecting(t, join(folder, 'link.sock')), isUnavailable(/is not a socket/));
  assert.deepEqual((await readdir(folder)).sort(), ['directory.sock', 'link.sock', 'stream.sock']);
});

test('a collector that stops does not remove the socket of another one', async (t) => {
  const at = await path(t);
  const first = await collecting(t, at);
  await unlink(at);
  await collecting(t, at);
  await first.socket.stop();
  assert.ok((await stat(at)).isSocket());
});

test('a path that is too long is rejected', async (t) => {
  const at = join(await temporaryFolder(t), `${'x'.repeat(100)}.sock`);
  await assert.rejects(collecting(t, at), isUnavailable(/too long/));
});

/** Sends this text to the socket, and returns all that it answers until it closes the connection. */
function ask(at: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(at, () => socket.end(text));
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
  });
}

test('a reader that sends no valid request is disconnected', async (t) => {
  const at = await path(t);
  const { write, warnings, relay } = await collecting(t, at, { requestMs: 50 });
  write(...TRACING);
  const requests = [
    'nonsense\n',
    '[]\n',
    '{"next":-1}\n',
    '{"stream":7}\n',
    `{"x":"${'y'.repeat(600)}"}\n`,
    '{}',
  ];
  for (const request of requests) assert.equal(await ask(at, request), '', request);
  assert.equal(warnings.length, requests.length);
  // One that sends nothing does not stay connected.
  const idle = connect(at);
  await new Promise((resolve) => idle.once('close', resolve));
  assert.match(warnings.at(-1) ?? '', /in time/);
  assert.equal(relay.readers, 0);
});

test('a reader may end its side after the request, and gets the stream until the collector ends', async (t) => {
  const at = await path(t);
  const { write, relay, socket } = await collecting(t, at);
  write(...TRACING);
  const answer = ask(at, '{}\n');
  await eventually(() => assert.equal(relay.readers, 1));
  write(heartbeat(2 * SECOND, 0));
  await socket.stop();
  await relay.stop(10_000);
  const lines = (await answer).trimEnd().split('\n');
  assert.deepEqual([lines[0], ...lines.slice(2)], [HEADER, starting(SECOND, 1), heartbeat(2 * SECOND, 0)]);
  assert.equal(streamLine(lines[1] ?? '').record.type, 'joined');
});

test('a reader beyond the limit is disconnected, and connects again when there is room', async (t) => {
  const at = await path(t);
  const { write, warnings } = await collecting(t, at, { maxReaders: 1 });
  write(...TRACING);
  const first = reading(t, at);
  await eventually(() => assert.equal(first.raws().length, 2));
  const second = reading(t, at);
  await eventually(() => assert.ok(warnings.includes('rejected a reader: too many are connected')));
  assert.deepEqual(second.lines, []);
  await first.stop();
  write(heartbeat(SECOND, 0));
  await eventually(() => {
    write(heartbeat(SECOND, 0));
    assert.ok(second.raws().length > 2);
  });
});
