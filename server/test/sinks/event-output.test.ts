import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { EventLine, StartLine } from '../../src/contract/event-output.ts';
import { TracerError } from '../../src/lib/errors.ts';
import type { EventOutputOptions, Write } from '../../src/sinks/event-output.ts';
import { eventually } from '../fixtures/eventually.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { feed } from '../fixtures/feed.ts';
import { PRIVATE_VM } from '../fixtures/golden/private-vm.ts';
import { assertComplete, create, linesOf } from './created-output.ts';
import { release } from './events.ts';

test('each line matches its schema, and an event line is the event of the API with the name of its log', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  const { events } = feed(PRIVATE_VM);
  const { output } = create(t, path);
  await output.start();
  for (const event of events) output.append(event);
  await output.stop();
  const [start, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.deepEqual(
    lines,
    events.map((event) => JSON.stringify({ log: 'run1', ...event })),
  );
  const closed = { additionalProperties: false };
  assert.ok(Value.Check(Type.Object(StartLine.properties, closed), JSON.parse(start ?? '')), start);
  for (const line of lines) assert.ok(Value.Check(EventLine, JSON.parse(line)), line);
  assert.equal(Value.Check(EventLine, { ...JSON.parse(lines[0] ?? ''), log: undefined }), false);
  assert.deepEqual([output.written, output.dropped, statSync(path).mode & 0o777], [events.length, 0, 0o600]);
});

test('the first line has the filters, and other events are not written', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  const filter: EventOutputOptions['filter'] = { kinds: ['release'], results: [], devices: ['41:00.0'] };
  const { output } = create(t, path, { filter });
  await output.start();
  output.append({ ...release(1), device: '0000:42:00.0' });
  output.append(release(2));
  await output.stop();
  const [start, ...lines] = linesOf(path);
  const time = '2023-11-14T22:13:20.000Z';
  assert.deepEqual(start, { log: 'run1', time, kind: 'start', version: '1.2.3', ...filter });
  assert.deepEqual(
    lines.map(({ seq }) => seq),
    [2],
  );
});

test('an existing file is appended to, and a line that the last run did not complete does not spoil the next one', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  writeFileSync(path, '{"whole":1}\n');
  const first = create(t, path).output;
  await first.start();
  await first.stop();
  writeFileSync(path, '{"par', { flag: 'a' });
  const second = create(t, path).output;
  await second.start();
  second.append(release(1));
  await second.stop();
  const lines = readFileSync(path, 'utf8').split('\n');
  assert.deepEqual([lines[0], lines[2], lines.length], ['{"whole":1}', '{"par', 6]);
  assert.deepEqual(
    [lines[1], lines[3], lines[4]].map((line) => JSON.parse(line ?? '').kind),
    ['start', 'start', 'release'],
  );
});

test('a path that cannot be opened is an error with its place and its fix', async (t) => {
  const folder = await temporaryFolder(t);
  symlinkSync(join(folder, 'victim'), join(folder, 'link'));
  const starting = (path: string) => create(t, path).output.start();
  const is = (what: RegExp) => (error: unknown) =>
    error instanceof TracerError && error.code === 'file_unwritable' && what.test(error.describe());
  await assert.rejects(
    starting(folder),
    is(/^the event output cannot be written: it is a folder\n {2}where: /),
  );
  await assert.rejects(starting(join(folder, 'link')), is(/symbolic link, which is not followed/));
  await assert.rejects(starting(join(folder, 'none', 'x')), is(/written: ENOENT\n.*\n {2}fix: give a pipe/));
  assert.equal(existsSync(join(folder, 'victim')), false);
});

test('no event is lost, cut or written twice while the file is renamed and opened again', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'events');
  // Each write is short, so that the rename comes inside a line too.
  const write: Write = async (fd, bytes) => writeSync(fd, bytes, 0, Math.min(bytes.length, 50_001));
  const { output } = create(t, path, { write });
  await output.start();
  let seq = 0;
  for (let rotation = 0; rotation < 25; rotation++) {
    // More lines than one batch, so that the rename and the signal come during a write.
    for (let index = 0; index < 1500; index++) output.append(release(++seq));
    if (rotation % 3 !== 0) await new Promise(setImmediate);
    renameSync(path, join(folder, `events.${rotation}`));
    if (rotation % 2 !== 0) for (let index = 0; index < 100; index++) output.append(release(++seq));
    output.reopen();
    await eventually(() => assert.ok(existsSync(path)), 1);
  }
  await output.stop();
  const files = readdirSync(folder).sort((a, b) => Number(a.slice(7) || 99) - Number(b.slice(7) || 99));
  assert.equal(files.length, 26);
  assertComplete(
    files.flatMap((file) => linesOf(join(folder, file))),
    seq,
  );
  assert.deepEqual([output.written, output.dropped], [seq, 0]);
});

test('a reload without a rotation changes nothing', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  const { output, logged } = create(t, path);
  await output.start();
  output.append(release(1));
  await eventually(() => assert.equal(output.written, 1));
  output.reopen();
  output.append(release(2));
  await output.stop();
  assertComplete(linesOf(path), 2);
  assert.equal(logged.length, 1);
});

test('while the new file cannot be opened, events go to the old one', async (t) => {
  const path = join(await temporaryFolder(t), 'events');
  const { output, logged } = create(t, path);
  await output.start();
  renameSync(path, `${path}.1`);
  mkdirSync(path);
  output.reopen();
  await eventually(() => assert.equal(output.up, false));
  output.append(release(1));
  await eventually(() => assert.equal(output.written, 1));
  const [failure] = logged.filter(({ level }) => level >= 50);
  assert.match(
    failure?.msg ?? '',
    /^the file cannot be opened again, and events go to the old one: .*: it is a folder$/,
  );
  assert.match(failure?.remedy ?? '', /path/);
  rmdirSync(path);
  await eventually(() => assert.equal(output.up, true));
  output.append(release(2));
  await output.stop();
  assert.deepEqual([linesOf(`${path}.1`).length, linesOf(path).length], [2, 1]);
  assert.match(logged.at(-1)?.msg ?? '', /events are written again/);
});
