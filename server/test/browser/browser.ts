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
  // Resolves the name to this machine, as an attacker's name server does.
  '--host-resolver-rules=MAP rebound.example 127.0.0.1',
];

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };

/** What openBrowser() needs from its caller: a test, or a scenario of the lab. */
export interface Opener {
  after(end: () => Promise<void>): void;
  diagnostic(line: string): void;
}

/** How long Chromium stays up after the last test, in milliseconds. A start takes seconds of CPU time. */
const LINGER_MS = 2000;

/** One Chromium for all tests of this process. It ends LINGER_MS after the last user released it. */
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

/** Opens a browser context that shares no cookie, storage or cache with another. It is closed when the test ends. */
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
  /** Console messages except console.log, and page errors. They include violations of the content security policy. */
  consoleMessages: string[];
  /** URLs of requests to other origins. */
  foreignRequests: string[];
}

/** Opens the live page and waits until it shows data. */
export async function openPage(context: BrowserContext, url: string, hash = ''): Promise<Opened> {
  const page = await context.newPage();
  const opened: Opened = { page, consoleMessages: [], foreignRequests: [] };
  page.on('console', (message) => {
    if (message.type() !== 'log') opened.consoleMessages.push(message.text());
  });
  page.on('pageerror', (error) => opened.consoleMessages.push(String(error)));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) opened.foreignRequests.push(request.url());
  });
  await page.goto(`${url}/${hash}`);
  await page.locator('.headline').waitFor();
  return opened;
}

/** Asserts that the page requested no other origin and that the console has no error or warning. */
export function assertClean({ consoleMessages, foreignRequests }: Opened): void {
  assert.deepEqual({ consoleMessages, foreignRequests }, { consoleMessages: [], foreignRequests: [] });
}
