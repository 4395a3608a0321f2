import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { cacheRoot } from '../src/cache.ts';
import { removeHalfSaved, SavedGuest } from '../src/saved-guests.ts';

function silent(): void {
  undefined;
}
let home = '';
let before: string | undefined;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'saved-guests-'));
  before = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = home;
});
afterEach(() => {
  rmSync(home, { recursive: true });
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
});

function saved(machine: string, files: string[] = []): SavedGuest {
  return new SavedGuest('booted-7.3', [machine], files, silent);
}
async function write(directory: string): Promise<void> {
  return writeFileSync(join(directory, 'state.zst'), 'x');
}
function entries(): string[] {
  return readdirSync(join(cacheRoot(), 'saved'));
}

test('only the machine that saved a state finds it', async () => {
  assert.equal(await saved('a').find(), undefined);
  await saved('a').keep(write);
  assert.deepEqual(readdirSync((await saved('a').find()) ?? ''), ['state.zst']);
  assert.equal(await saved('b').find(), undefined);
});

test('a state is not found after the program has changed', async () => {
  const program = join(home, 'program');
  writeFileSync(program, 'one');
  await saved('a', [program]).keep(write);
  writeFileSync(program, 'two');
  assert.equal(await saved('a', [program]).find(), undefined);
});

test('an error while a state is saved is logged, and leaves no files', async () => {
  const logged: string[] = [];
  const guest = new SavedGuest('booted-7.3', ['a'], [], (line) => logged.push(line));
  await guest.keep(() => Promise.reject(new Error('the disk is full')));
  assert.match(logged.join('\n'), /not saved: Error: the disk is full/);
  assert.deepEqual(entries(), []);
});

test('the two most recently used states of a name are kept', async () => {
  for (const machine of ['a', 'b', 'c']) await saved(machine).keep(write);
  assert.equal(entries().length, 2);
  assert.notEqual(await saved('c').find(), undefined);
});

test('a discarded state is not found', async () => {
  await saved('a').keep(write);
  saved('a').discard();
  assert.equal(await saved('a').find(), undefined);
});

test('find waits for a state that is being made', async () => {
  let finish: () => void = () => undefined;
  const making = saved('a').make(async () => {
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    await saved('a').keep(write);
  });
  const found = saved('a').find();
  finish();
  await making;
  assert.match(basename((await found) ?? ''), /^booted-7\.3-/);
});

test('find returns undefined if making the state fails', async () => {
  const making = saved('a').make(() => Promise.reject(new Error('the boot failed')));
  const found = saved('a').find();
  await assert.rejects(making, /the boot failed/);
  assert.equal(await found, undefined);
});

test('half-saved states of killed runs are removed, and those of running ones are not', async () => {
  await saved('a').keep(write);
  const [whole = ''] = entries();
  for (const pid of [999_999_999, process.pid])
    writeFileSync(join(cacheRoot(), 'saved', `${whole}.${pid}-1.partial`), '');
  removeHalfSaved();
  assert.deepEqual(entries().sort(), [whole, `${whole}.${process.pid}-1.partial`]);
});
