// Runs several test files in one process, so that tsx and shared modules load once. Each file is a suite with its path
// as name. So its hooks apply only to its tests, node's report names the file, and a file that does not load is a
// failed suite.
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe } from 'node:test';
import { pathToFileURL } from 'node:url';
import { repository } from './setup.mjs';

/** If no test ends for this time, the process hangs. A limit for a complete file would fail on a busy machine. */
const HANG_MS = 600_000;
/** If a process does not end within this time after its tests, something keeps it open. */
const END_MS = 10_000;

/** Prints the name of the hanging test and exits. */
const startTimeout = (what) =>
  setTimeout(() => {
    console.error(`no test has ended for ${HANG_MS / 1000} s: ${what}`);
    process.exit(1);
  }, HANG_MS).unref();

export const runGroup = (files) => {
  let timeout = startTimeout(files.join(', '));
  const progress = (what) => {
    clearTimeout(timeout);
    timeout = startTimeout(what);
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
