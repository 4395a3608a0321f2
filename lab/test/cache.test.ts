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

function silent(): void {
  undefined;
}

/** Entries of the cache without its locks. */
function parts(): string[] {
  return readdirSync(cacheRoot())
    .filter((entry) => entry !== 'locks')
    .sort();
}

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'lab-cache-'));
  process.env.XDG_CACHE_HOME = home;
});
afterEach(() => rmSync(home, { recursive: true }));

async function build(directory: string): Promise<void> {
  return writeFileSync(join(directory, 'file'), 'whole');
}

test('an existing folder is not built again', async () => {
  const first = await cached('thing', 'key', silent, build);
  assert.equal(readFileSync(join(first, 'file'), 'utf8'), 'whole');
  assert.equal(await cached('thing', 'key', silent, () => Promise.reject(new Error('built again'))), first);
});

test('a half-written folder is built again', async () => {
  await assert.rejects(cached('thing', 'key', silent, () => Promise.reject(new Error('the disk is full'))));
  assert.deepEqual(parts(), ['thing-key.partial']);
  const made = await cached('thing', 'key', silent, build);
  assert.deepEqual(parts(), ['thing-key']);
  assert.ok(existsSync(join(made, 'file')));
});

test('folders with other keys are kept, so that two checkouts can share the cache', async () => {
  const a = await cached('thing', 'a', silent, build);
  await cached('thing', 'b', silent, build);
  assert.equal(await cached('thing', 'a', silent, () => Promise.reject(new Error('built again'))), a);
});

test('the least recently used folder of a name is removed, and folders of other names are kept', async () => {
  await cached('thing-else', 'old', silent, build);
  for (const key of ['a', 'b', 'c']) await cached('thing', key, silent, build);
  const hourAgo = new Date(Date.now() - 3_600_000);
  for (const key of ['a', 'b']) utimesSync(join(cacheRoot(), `thing-${key}`), hourAgo, hourAgo);
  // This use makes b the least recently used.
  await cached('thing', 'a', silent, build);
  await cached('thing', 'd', silent, build);
  assert.deepEqual(parts(), ['thing-a', 'thing-c', 'thing-d', 'thing-else-old']);
});

test('only one builder of a name runs at a time', async () => {
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

test('a folder that another caller is building is not built twice, and other names do not wait', async () => {
  let finish = (): void => {};
  let first = Promise.resolve('');
  // Two callers may get the lock in any order: the second one calls when the first one builds.
  await new Promise<void>((begins) => {
    first = cached('thing', 'key', silent, async (directory) => {
      begins();
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      await build(directory);
    });
  });
  const second = cached('thing', 'key', silent, () => Promise.reject(new Error('built again')));
  await cached('other', 'key', silent, build);
  finish();
  assert.equal(await first, await second);
});

for (const [whose, holder] of [
  ['a process that has ended', '999999999 1'],
  ['a process whose pid was reused', `${process.pid} 1`],
])
  test(`the lock of ${whose} is taken over`, async () => {
    mkdirSync(join(cacheRoot(), 'locks'), { recursive: true });
    writeFileSync(join(cacheRoot(), 'locks', 'thing'), `${holder}\n`);
    assert.equal(await withCacheLock('thing', silent, async () => 'in'), 'in');
  });
