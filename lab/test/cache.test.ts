import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { cached, cacheRoot, withCacheLock } from '../src/cache.ts';

const silent = (): void => undefined;

/** What the cache has, but for its locks. */
const parts = (): string[] =>
  readdirSync(cacheRoot())
    .filter((entry) => entry !== 'locks')
    .sort();

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'lab-cache-'));
  process.env.XDG_CACHE_HOME = home;
});
afterEach(() => rmSync(home, { recursive: true }));

const build = async (directory: string): Promise<void> => writeFileSync(join(directory, 'file'), 'whole');

test('what is there is not built again', async () => {
  const first = await cached('thing', 'key', silent, build);
  assert.equal(readFileSync(join(first, 'file'), 'utf8'), 'whole');
  assert.equal(await cached('thing', 'key', silent, () => Promise.reject(new Error('built again'))), first);
});

test('a half-written folder is not trusted', async () => {
  await assert.rejects(cached('thing', 'key', silent, () => Promise.reject(new Error('the disk is full'))));
  assert.deepEqual(parts(), ['thing-key.partial']);
  const made = await cached('thing', 'key', silent, build);
  assert.deepEqual(parts(), ['thing-key']);
  assert.ok(existsSync(join(made, 'file')));
});

test("folders with other keys stay, so that two checkouts do not build each other's parts again", async () => {
  const a = await cached('thing', 'a', silent, build);
  await cached('thing', 'b', silent, build);
  assert.equal(await cached('thing', 'a', silent, () => Promise.reject(new Error('built again'))), a);
});

test('of many folders of a name the least recently used goes, and other names are left alone', async () => {
  await cached('thing-else', 'old', silent, build);
  for (const key of ['a', 'b', 'c']) await cached('thing', key, silent, build);
  const hourAgo = new Date(Date.now() - 3_600_000);
  for (const key of ['a', 'b']) utimesSync(join(cacheRoot(), `thing-${key}`), hourAgo, hourAgo);
  // Used again: b is now the older one.
  await cached('thing', 'a', silent, build);
  await cached('thing', 'd', silent, build);
  assert.deepEqual(parts(), ['thing-a', 'thing-c', 'thing-d', 'thing-else-old']);
});

test('one builder of a name at a time holds its lock', async () => {
  const order: string[] = [];
  const hold = (name: string): Promise<void> =>
    withCacheLock('thing', silent, async () => {
      order.push(`${name} in`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      order.push(`${name} out`);
    });
  await Promise.all([hold('a'), hold('b')]);
  const first = order[0] === 'a in' ? ['a', 'b'] : ['b', 'a'];
  assert.deepEqual(
    order,
    first.flatMap((name) => [`${name} in`, `${name} out`]),
  );
});

test('what another process builds meanwhile is not built again, and other names do not wait', async () => {
  let finish = (): void => {};
  const first = cached('thing', 'key', silent, async (directory) => {
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    await build(directory);
  });
  const second = cached('thing', 'key', silent, () => Promise.reject(new Error('built again')));
  await cached('other', 'key', silent, build);
  finish();
  assert.equal(await first, await second);
});

for (const [whose, holder] of [
  ['a process that is gone', '999999999 1'],
  ['a process whose number another has now', `${process.pid} 1`],
])
  test(`the lock of ${whose} is taken over`, async () => {
    mkdirSync(join(cacheRoot(), 'locks'), { recursive: true });
    writeFileSync(join(cacheRoot(), 'locks', 'thing'), `${holder}\n`);
    assert.equal(await withCacheLock('thing', silent, async () => 'in'), 'in');
  });
