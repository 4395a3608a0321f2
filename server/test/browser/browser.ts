import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
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
];

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };

/** What a test, or a trial of the lab, does for what it opens. */
export interface Opener {
  after(end: () => Promise<void>): void;
  diagnostic(line: string): void;
}

/** A browser of its own, with a profile that is gone after the test. */
export async function openBrowser(t: Opener, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  await ensurePackages(['chromium'], (line) => t.diagnostic(line));
  const profile = mkdtempSync(join(tmpdir(), 'browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium',
    args: FLAGS,
    viewport: WIDE,
    ...options,
  });
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
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
