import assert from 'node:assert/strict';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';
import { ensurePackages } from '../../../lab/src/host-packages.ts';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // What an attacker's name server does: the name leads to this machine.
  '--host-resolver-rules=MAP rebound.example 127.0.0.1',
];

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };

/** What a test, or a trial of the lab, does for what it opens. */
export interface Opener {
  after(end: () => Promise<void>): void;
  diagnostic(line: string): void;
}

/** How long Chromium waits for the next test after one, in milliseconds: a start takes seconds of CPU. */
const LINGER_MS = 2000;

/** One Chromium for the tests of a process, one after the other; it ends some time after the last of them. */
class SharedBrowser {
  #browser: Promise<Browser> | undefined;
  #users = 0;
  #end: NodeJS.Timeout | undefined;

  async acquire(): Promise<Browser> {
    clearTimeout(this.#end);
    this.#users += 1;
    this.#browser ??= chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
    return await this.#browser;
  }

  release(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#end = setTimeout(() => {
      const browser = this.#browser;
      this.#browser = undefined;
      void browser?.then((one) => one.close());
    }, LINGER_MS);
  }
}
const shared = new SharedBrowser();

/** A context of its own, which shares no cookie, storage or cache with another and ends with the test. */
export async function openBrowser(t: Opener, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  await ensurePackages(['chromium'], (line) => t.diagnostic(line));
  const browser = await shared.acquire();
  const context = await browser.newContext({ viewport: WIDE, ...options });
  t.after(async () => {
    await context.close();
    shared.release();
  });
  return context;
}

export interface Opened {
  page: Page;
  /** What a browser complains of: broken rules of the policy among them. */
  complaints: string[];
  /** Addresses asked beyond the origin. */
  strangers: string[];
}

/** Opens the live page and waits for it to have its data. */
export async function openPage(context: BrowserContext, url: string, hash = ''): Promise<Opened> {
  const page = await context.newPage();
  const opened: Opened = { page, complaints: [], strangers: [] };
  page.on('console', (message) => {
    if (message.type() !== 'log') opened.complaints.push(message.text());
  });
  page.on('pageerror', (error) => opened.complaints.push(String(error)));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) opened.strangers.push(request.url());
  });
  await page.goto(`${url}/${hash}`);
  await page.locator('.headline').waitFor();
  return opened;
}

/** Nothing was asked elsewhere, and nothing was complained of. */
export function assertClean({ complaints, strangers }: Opened): void {
  assert.deepEqual({ complaints, strangers }, { complaints: [], strangers: [] });
}
