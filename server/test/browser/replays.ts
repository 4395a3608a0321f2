import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext } from 'node:test';
import type { BrowserContextOptions } from 'playwright-core';
import { Program } from '../e2e/program.ts';
import { busyHost } from '../fixtures/busy-host.ts';
import { type Opened, openBrowser, openPage } from './browser.ts';

/** The built program for the tests of one file, which opens pages of replayed recordings. */
export class Replays {
  readonly program = new Program();
  /** A recording of a busy host. */
  readonly busy = join(this.program.folder, 'busy.ndjson');

  constructor() {
    before(() => {
      this.program.build();
      writeFileSync(this.busy, `${[...busyHost()].join('\n')}\n`);
    });
    after(() => this.program.remove());
  }

  /** Opens the page of a recording once it is read to its end. */
  async open(
    t: TestContext,
    recording: string,
    hash = '',
    options: BrowserContextOptions = {},
  ): Promise<Opened> {
    const serving = await this.program.serve(t, ['replay', recording]);
    await serving.until(async () => (await fetch(`${serving.url}/-/ready`)).status === 200, 'it to be ready');
    return await openPage(await openBrowser(t, options), serving.url, hash);
  }
}
