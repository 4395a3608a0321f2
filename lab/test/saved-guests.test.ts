import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { cacheRoot } from '../src/cache.ts';
import { removeHalfSaved, SavedGuest } from '../src/saved-guests.ts';

const silent = (): void => undefined;
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

const saved = (machine: string, files: string[] = []): SavedGuest =>
  new SavedGuest('booted-7.3', [machine], files, silent);
const write = async (directory: string): Promise<void> => writeFileSync(join(directory, 'state.zst'), 'x');
const entries = (): string[] => readdirSync(join(cacheRoot(), 'saved'));

test('a state is found again by the same machine, and by no other', async () => {
  assert.equal(await saved('a').find(), undefined);
  await saved('a').keep(write);
  assert.deepEqual(readdirSync((await saved('a').find()) ?? ''), ['state.zst']);
  assert.equal(await saved('b').find(), undefined);
});

test('a program that has changed has no state', async () => {
  const program = join(home, 'program');
  writeFileSync(program, 'one');
  await saved('a', [program]).keep(write);
  writeFileSync(program, 'two');
  assert.equal(await saved('a', [program]).find(), undefined);
});

test('a state that cannot be written is reported and leaves nothing behind', async () => {
  const said: string[] = [];
  const guest = new SavedGuest('booted-7.3', ['a'], [], (line) => said.push(line));
  await guest.keep(() => Promise.reject(new Error('the disk is full')));
  assert.match(said.join('\n'), /not saved: Error: the disk is full/);
  assert.deepEqual(entries(), []);
});

test('two states of a name are kept, the last used', async () => {
  for (const machine of ['a', 'b', 'c']) await saved(machine).keep(write);
  assert.equal(entries().length, 2);
  assert.notEqual(await saved('c').find(), undefined);
});

test('a discarded state is not found', async () => {
  await saved('a').keep(write);
  saved('a').discard();
  assert.equal(await saved('a').find(), undefined);
});

test('who looks for a state that is being made waits for it', async () => {
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

test('who looks for a state whose making fails goes on without it', async () => {
  const making = saved('a').make(() => Promise.reject(new Error('the boot failed')));
  const found = saved('a').find();
  await assert.rejects(making, /the boot failed/);
  assert.equal(await found, undefined);
});

test('what a killed run has left half-saved is removed, and what a running one saves is not', async () => {
  await saved('a').keep(write);
  const [whole = ''] = entries();
  for (const pid of [999_999_999, process.pid])
    writeFileSync(join(cacheRoot(), 'saved', `${whole}.${pid}-1.partial`), '');
  removeHalfSaved();
  assert.deepEqual(entries().sort(), [whole, `${whole}.${process.pid}-1.partial`]);
});
