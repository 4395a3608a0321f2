import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { Page } from 'playwright-core';
import { busyHost } from '../fixtures/busy-host.ts';
import { eventually } from '../fixtures/eventually.ts';
import { assertClean, openBrowser } from './browser.ts';
import { Replays } from './replays.ts';

const WIRE_LIMIT = 100 * 1024;
/** A list draws some 30 rows at a time, also if it has thousands. The times depend on the machine: they are printed. */
const MOST_ADDED = 3000;
const BUFFERS = 2000;

const replays = new Replays();
const { program } = replays;
const big = join(program.folder, 'big.ndjson');
before(() =>
  writeFileSync(
    big,
    `${[...busyHost({ vms: 40, buffers: BUFFERS, rejections: 4000, seconds: 600 })].join('\n')}\n`,
  ),
);

test('the page of a small host transfers less than 100 KB until it shows all data', async (t) => {
  const serving = await program.serve(t, [
    'replay',
    join(import.meta.dirname, '../../../recordings/import-vgem.ndjson'),
  ]);
  await serving.until(async () => (await fetch(`${serving.url}/-/ready`)).status === 200, 'it to be ready');
  const context = await openBrowser(t);
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  const sizes = new Map<string, number>();
  const names = new Map<string, string>();
  session.on('Network.responseReceived', ({ requestId, response }) => names.set(requestId, response.url));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) =>
    sizes.set(names.get(requestId) ?? requestId, encodedDataLength),
  );
  await page.goto(serving.url);
  await page.locator('.plot-legend, #rates .empty').first().waitFor();
  await page.waitForTimeout(1000);
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  for (const [url, size] of sizes) t.diagnostic(`${size} bytes: ${new URL(url).pathname}`);
  t.diagnostic(`${total} bytes transferred in total`);
  assert.ok(
    [...sizes.keys()].some((url) => url.endsWith('.js')) &&
      [...sizes.keys()].some((url) => url.endsWith('.css')),
  );
  assert.ok(total < WIRE_LIMIT, `${total} bytes`);
});

interface TraceEvent {
  name: string;
  pid: number;
  tid: number;
  /** Microseconds: `dur` is elapsed time, `tdur` is CPU time. */
  dur?: number;
  tdur?: number;
  args: { name?: string };
}

/**
 * The longest tasks of the page's main thread during the action, in milliseconds, by CPU time and by elapsed time.
 */
async function longestTask(page: Page, action: () => Promise<void>): Promise<{ cpu: number; wall: number }> {
  const session = await page.context().newCDPSession(page);
  const events: TraceEvent[] = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...(value as unknown as TraceEvent[])));
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: ['disabled-by-default-devtools.timeline'] },
  });
  await action();
  await page.waitForTimeout(300);
  const complete = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  await complete;
  await session.detach();
  const thread = ({ pid, tid }: TraceEvent): string => `${pid}/${tid}`;
  const main = new Set(
    events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(thread),
  );
  const tasks = events.filter((event) => event.name === 'RunTask' && main.has(thread(event)));
  assert.ok(tasks.length > 10, `only ${tasks.length} tasks in the trace`);
  const longest = (durations: (number | undefined)[]): number =>
    Math.round(Math.max(...durations.map((micros) => micros ?? 0)) / 1000);
  return { cpu: longest(tasks.map(({ tdur }) => tdur)), wall: longest(tasks.map(({ dur }) => dur)) };
}

/** The most elements that are added to the page in one update during the action. */
async function mostAdded(page: Page, action: () => Promise<void>): Promise<number> {
  const observer = await page.evaluateHandle(() => {
    const count = { most: 0 };
    const changes = new MutationObserver((records) => {
      let added = 0;
      for (const node of records.flatMap((record) => [...record.addedNodes]))
        if (node instanceof Element) added += 1 + node.querySelectorAll('*').length;
      count.most = Math.max(count.most, added);
    });
    changes.observe(document, { childList: true, subtree: true });
    return { count, changes };
  });
  await action();
  return await observer.evaluate(({ count, changes }) => {
    changes.disconnect();
    return count.most;
  });
}

/** Scrolls the list from top to bottom in 60 frames, as a user does. */
async function scroll(page: Page, list: string): Promise<void> {
  await page.evaluate(async (selector) => {
    const element = document.querySelector(selector);
    if (element === null) throw new Error(`no ${selector}`);
    const steps = 60;
    for (let step = 0; step <= steps; step += 1) {
      element.scrollTop = (element.scrollHeight * step) / steps;
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    element.scrollTop = 0;
  }, list);
}

test('2,000 buffers and 10,000 events scroll and filter, and few of them are drawn at a time', async (t) => {
  const opened = await replays.open(t, big, '#feed=all');
  const { page } = opened;
  await page.getByText('10,000 events here').waitFor();
  await page.getByText('2,000 buffers', { exact: true }).waitFor();
  const drawn = await page.evaluate(() => document.querySelectorAll('*').length);
  t.diagnostic(`${drawn} elements in the page`);
  assert.ok(drawn < 3000, `${drawn} elements`);
  const actions: Record<string, () => Promise<void>> = {
    'scrolling the buffers': () => scroll(page, '#buffers .virtual'),
    'scrolling the events': () => scroll(page, '#rejections .virtual'),
    'filtering the buffers': async () => {
      await page.getByLabel('Filter').pressSequentially('vm-12 mlx5', { delay: 30 });
      await page.getByLabel('Filter').fill('');
    },
    'sorting the buffers': async () => {
      for (const name of ['Size', 'VM', 'Age'])
        await page.getByRole('columnheader', { name }).getByRole('button').click();
    },
    'filtering the events': async () => {
      await page.getByLabel('rejections', { exact: true }).check();
      await page.getByLabel('all events').check();
    },
  };
  let total = 0;
  for (const [name, action] of Object.entries(actions)) {
    const added = await mostAdded(page, async () => {
      const { cpu, wall } = await longestTask(page, action);
      t.diagnostic(`${name}: longest task ${cpu} ms of CPU time, ${wall} ms elapsed`);
    });
    t.diagnostic(`${name}: at most ${added} elements added in one update`);
    assert.ok(added < MOST_ADDED, `${name}: ${added} elements`);
    total += added;
  }
  assert.ok(total > 0, 'added elements are counted');
  assertClean(opened);
});

test('an idle page does no layout and uses less than 2% of the time', async (t) => {
  const opened = await replays.open(t, big, '#feed=all');
  const { page } = opened;
  await page.getByText('10,000 events here').waitFor();
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  const read = async (): Promise<Record<string, number>> => {
    const { metrics } = await session.send('Performance.getMetrics');
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  // Other work on the machine delays pending work of the page and extends its tasks, so try again.
  await eventually(async () => {
    const before = await read();
    await page.waitForTimeout(8000);
    const after = await read();
    const spent = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
    const share = spent('TaskDuration') / spent('Timestamp');
    t.diagnostic(
      `in ${spent('Timestamp').toFixed(1)} s: tasks ${(100 * share).toFixed(2)}%, script ${spent('ScriptDuration').toFixed(4)} s, ` +
        `layouts ${spent('LayoutCount')}, styles ${spent('RecalcStyleCount')}`,
    );
    assert.equal(spent('LayoutCount'), 0);
    assert.ok(share < 0.02, `${(100 * share).toFixed(2)}% of the time is spent in tasks`);
  });
});
