// Runs several test files in one process, so that tsx and the modules that they share load once. Each file is a suite of its
// path: its hooks are its own, a file that does not load is a suite that fails, and node's report names the file.
import { join } from 'node:path';
import { after, describe } from 'node:test';
import { pathToFileURL } from 'node:url';
import { repository } from './setup.mjs';

/** A test that hangs fails with the name of its file. */
const TIMEOUT_MS = 180_000;
/** A process that has run its tests and does not end within this time holds something open. */
const END_MS = 10_000;

export const runGroup = (files) => {
  for (const file of files) {
    describe(file, { timeout: TIMEOUT_MS }, async () => {
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
