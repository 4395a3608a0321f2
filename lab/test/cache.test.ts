import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { cached, cacheRoot, withCacheLock } from '../src/cache.ts';

const silent = (): void => undefined;

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
  assert.deepEqual(readdirSync(cacheRoot()), ['thing-key.partial']);
  const made = await cached('thing', 'key', silent, build);
  assert.deepEqual(readdirSync(cacheRoot()), ['thing-key']);
  assert.ok(existsSync(join(made, 'file')));
});

test('another key makes the old folder go, and leaves those of other names', async () => {
  await cached('thing', 'old', silent, build);
  await cached('thing-else', 'old', silent, build);
  await cached('thing', 'new', silent, build);
  assert.deepEqual(readdirSync(cacheRoot()).sort(), ['thing-else-old', 'thing-new']);
});

test('one builder at a time holds the cache', async () => {
  const order: string[] = [];
  const hold = (name: string): Promise<void> =>
    withCacheLock(silent, async () => {
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

for (const [whose, holder] of [
  ['a process that is gone', '999999999 1'],
  ['a process whose number another has now', `${process.pid} 1`],
])
  test(`the lock of ${whose} is taken over`, async () => {
    mkdirSync(cacheRoot(), { recursive: true });
    writeFileSync(join(cacheRoot(), 'lock'), `${holder}\n`);
    assert.equal(await withCacheLock(silent, async () => 'in'), 'in');
  });
