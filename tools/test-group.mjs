// Runs several test files in one process, so that tsx and the modules that they share load once. Each file is a suite of its
// path: its hooks are its own, a file that does not load is a suite that fails, and node's report names the file.
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe } from 'node:test';
import { pathToFileURL } from 'node:url';
import { repository } from './setup.mjs';

/** A process in which no test ends for so long hangs. A limit for a whole file would fail on a busy machine. */
const HANG_MS = 600_000;
/** A process that has run its tests and does not end within this time holds something open. */
const END_MS = 10_000;

/** Ends the process with the name of the test that hangs. */
const watchFor = (what) =>
  setTimeout(() => {
    console.error(`no test has ended for ${HANG_MS / 1000} s: ${what}`);
    process.exit(1);
  }, HANG_MS).unref();

export const runGroup = (files) => {
  let watch = watchFor(files.join(', '));
  const progress = (what) => {
    clearTimeout(watch);
    watch = watchFor(what);
  };
  for (const file of files) {
    describe(file, async () => {
      beforeEach(({ name }) => progress(`${file}: ${name}`));
      afterEach(({ name }) => progress(`${file}: after ${name}`));
      await import(pathToFileURL(join(repository, file)).href);
    });
  }
  after(() => {
    setTimeout(() => {
      console.error(`still open after the tests of ${files.join(', ')}: ${process.getActiveResourcesInfo()}`);
      process.exit(1);
    }, END_MS).unref();
  });
};
