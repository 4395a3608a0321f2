import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Locator, Page } from 'playwright-core';
import { busyHost } from '../fixtures/busy-host.ts';
import { eventually } from '../fixtures/eventually.ts';
import {
  counterRead,
  exported,
  HEADER,
  heartbeat,
  ready,
  starting,
  untraceable,
} from '../fixtures/stream-lines.ts';
import { assertClean, NARROW, openBrowser, openPage } from './browser.ts';
import { Replays } from './replays.ts';

const RECORDINGS = fileURLToPath(new URL('../../../recordings', import.meta.url));
const replays = new Replays();
const { busy, program } = replays;

function rows(page: Page) {
  return page.locator('#buffers [role=row][data-index]');
}
async function texts(page: Page, cell: string): Promise<string[]> {
  return (await rows(page).locator(cell).allInnerTexts()).map((text) => text.trim());
}
/** Waits for the text, because the page updates asynchronously. */
function says(page: Page, part: string, expected: RegExp): Promise<void> {
  return eventually(async () => assert.match(await page.locator(part).innerText(), expected, part));
}
function shows(page: Page, cell: string, expected: readonly string[]): Promise<void> {
  return eventually(async () => assert.deepEqual(await texts(page, cell), expected));
}

test('a replay is marked as such, and its rejection opens with an explanation and a remedy', async (t) => {
  const opened = await replays.open(t, join(RECORDINGS, 'private-bind-vm-mismatch.ndjson'));
  const { page } = opened;
  await page.getByText('Replay of private-bind-vm-mismatch.ndjson: not this host, not now').waitFor();
  await page.getByRole('heading', { level: 1, name: 'Safe' }).waitFor();
  const rejection = page
    .locator('#rejections')
    .getByRole('button', { name: /KVM was rejected at bind.*vm_mismatch/ });
  assert.equal(await rejection.getAttribute('aria-expanded'), 'false');
  await rejection.click();
  const panel = page.locator('.opened');
  await panel.getByText('Fix:').waitFor();
  assert.equal(await rejection.getAttribute('aria-expanded'), 'true');
  const reason = (await (await fetch(new URL('/api/v1/reasons/vm_mismatch', page.url()))).json()) as {
    what: string;
    remedy: string;
  };
  assert.ok((await panel.innerText()).includes(reason.what));
  assert.ok((await panel.innerText()).includes(reason.remedy));
  await page.keyboard.press('Escape');
  await panel.waitFor({ state: 'detached' });
  assertClean(opened);
});

for (const [recording, level, text] of [
  ['revoke-slow-importer', 'Safe', /revoke waiting/],
  ['private-offered', 'Critical', /private offered/],
  ['owner-gone-holder-known', 'Attention|Safe', /orphaned|never imported|none open/],
] as const) {
  test(`the page shows the state and the incidents of the recording ${recording}`, async (t) => {
    const opened = await replays.open(t, join(RECORDINGS, `${recording}.ndjson`));
    const { page } = opened;
    await says(page, 'h1', new RegExp(level));
    await says(page, '#incidents', text);
    assertClean(opened);
  });
}

test('a failed private read is listed among all events, but not as a rejection', async (t) => {
  const opened = await replays.open(t, join(RECORDINGS, 'private-bind-after-failed-lookup.ndjson'));
  const { page } = opened;
  await says(page, '#rejections', /0 events here, 0 rejected since the start/);
  assert.doesNotMatch(await page.locator('#rejections').innerText(), /could not read/);
  await page.getByRole('radio', { name: 'all events' }).check();
  await says(page, '#rejections', /could not read its privacy/);
  assertClean(opened);
});

test('a page that is opened during a replay shows the complete history at its end', async (t) => {
  const lines = [...busyHost({ seconds: 600 })];
  const half = Math.floor(lines.length / 2);
  const serving = await program.serve(t, ['replay', '-']);
  serving.child.stdin?.write(`${lines.slice(0, half).join('\n')}\n`);
  const end = async (answer: { json(): Promise<unknown> }): Promise<string> =>
    ((await answer.json()) as { samples: { time: string }[] }).samples.at(-1)?.time ?? '';
  const known = async (): Promise<string> => end(await fetch(`${serving.url}/api/v1/history`));
  await eventually(async () => assert.notEqual(await known(), ''));
  const context = await openBrowser(t);
  let shown = '';
  context.on('response', (answer) => {
    if (answer.url().endsWith('/api/v1/history'))
      void end(answer).then((time) => {
        shown = time;
      });
  });
  await openPage(context, serving.url);
  await eventually(() => assert.notEqual(shown, ''));
  serving.child.stdin?.end(`${lines.slice(half).join('\n')}\n`);
  await serving.until(async () => (await fetch(`${serving.url}/-/ready`)).ok, 'the end of the replay');
  const whole = await known();
  assert.ok(whole > shown, 'the page must be opened before the end of the replay');
  await eventually(() => assert.equal(shown, whole));
});

function recorded(name: string, lines: readonly string[]): string {
  const file = join(program.folder, `${name}.ndjson`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}
function counts(drawn: Locator, expected: number): Promise<void> {
  return eventually(async () => assert.equal(await drawn.count(), expected));
}
function facts(page: Page, expected: readonly string[]): Promise<void> {
  return eventually(async () => {
    const values = await page.locator('.facts b').allInnerTexts();
    assert.deepEqual(
      values.map((text) => text.trim()),
      expected,
    );
  });
}
const UNTRACEABLE = untraceable(300_000_000);

test('the page shows no zero for a host that cannot be traced', async (t) => {
  const opened = await replays.open(t, recorded('untraceable', [HEADER, UNTRACEABLE]));
  const { page } = opened;
  await page.getByRole('heading', { level: 1, name: 'Blind' }).waitFor();
  await facts(page, ['–', '–', '–', '–', '–']);
  for (const part of ['topology', 'incidents', 'buffers', 'rejections', 'rates'])
    await says(page, `#${part}`, /Not known: nothing is traced\./);
  assert.doesNotMatch(
    await page.locator('main').innerText(),
    /none open|0 (buffers|events|devices|rejected)/,
  );
  assertClean(opened);
});

test('after tracing has ended the page shows the last state and marks it as old', async (t) => {
  const opened = await replays.open(t, recorded('before', [...busyHost(), UNTRACEABLE]));
  const { page } = opened;
  await page.getByRole('heading', { level: 1, name: 'Blind' }).waitFor();
  await facts(page, ['14', '3', '2', '4', '13']);
  await says(page, '.headline', /are from before tracing ended/);
  await says(page, '#incidents', /none open when tracing ended/);
  assertClean(opened);
});

test('the page does not report a private buffer as safe if the probes for violations are not attached', async (t) => {
  const lines = [
    HEADER,
    starting(1_000_000, 1, { attached: ['export', 'release'] }),
    ready(1_100_000),
    exported({ t: 2_000_000, inode: 7, privacy: 'private', kvm_pid: 100 }),
    heartbeat(3_000_000, 1),
    ...counterRead(3_000_000, { emitted: 1 }),
  ];
  const opened = await replays.open(t, recorded('partly', lines));
  const { page } = opened;
  await page.getByRole('heading', { level: 1, name: 'Attention' }).waitFor();
  const text = await page.locator('.headline').innerText();
  assert.match(text, /Not traced: private offered, foreign vm, accepted not vfio\./);
  assert.doesNotMatch(text, /none was accepted/);
  await facts(page, ['1', '1', '–', '–', '–']);
  await says(page, '#topology', /importers not traced/);
  await shows(page, '.c-importers', ['–']);
  await says(page, '#rejections', /, – rejected since the start/);
  await says(page, '#probes', /function_missing/);
  assertClean(opened);
});

test('buffers can be filtered and sorted, and the filters survive a reload', async (t) => {
  const opened = await replays.open(t, busy);
  const { page } = opened;
  await counts(rows(page), 14);
  await page.getByLabel('Filter').fill('training-a iommufd');
  await shows(page, '.c-vm', ['training-a', 'training-a']);
  await shows(page, '.c-importers', ['iommufd', 'iommufd']);
  await says(page, '#buffers .count', /^2 of 14 buffers/);
  await page.getByLabel('Filter').press('Escape');
  await page.getByRole('combobox', { name: 'Privacy' }).selectOption('private');
  await shows(page, '.row-button', ['#11', '#6', '#1']);
  await page.getByRole('combobox', { name: 'Privacy' }).selectOption('any');
  await page.getByRole('combobox', { name: 'State' }).selectOption('revoked');
  await shows(page, '.row-button', ['#10', '#3']);
  await page.reload();
  await page.locator('.headline').waitFor();
  await shows(page, '.row-button', ['#10', '#3']);
  await page.getByRole('combobox', { name: 'State' }).selectOption('existing');
  await page.getByRole('columnheader', { name: 'Size' }).getByRole('button').click();
  const head = page.getByRole('columnheader', { name: 'Size' });
  const sorted = async (order: string, first: string): Promise<void> => {
    assert.equal(await head.getAttribute('aria-sort'), order);
    assert.equal((await texts(page, '.c-size'))[0], first);
  };
  await eventually(() => sorted('ascending', '4 KiB'));
  await head.getByRole('button').click();
  await eventually(() => sorted('descending', '32 MiB'));
  assertClean(opened);
});

test('a buffer opens with its timeline in order, and Escape and Back close it', async (t) => {
  const opened = await replays.open(t, busy);
  const { page } = opened;
  const before = page.url();
  await rows(page).getByRole('button', { name: '#10' }).click();
  const dialog = page.getByRole('dialog', { name: 'Buffer 10' });
  await dialog.getByText('Exported 4 MiB of BAR 2').waitFor();
  await page.waitForURL(/#buffer=10$/);
  const moments = await dialog.locator('.timeline li b').allInnerTexts();
  assert.deepEqual(moments.slice(0, 5), [
    'Exported 4 MiB of BAR 2',
    'mlx5_core attached it',
    'mlx5_core pinned it',
    'mlx5_core registered it for RDMA',
    'Revoked',
  ]);
  assert.ok(moments.some((moment) => moment.includes('was rejected')));
  const facts = await dialog.innerText();
  assert.match(facts, /Holders\s+qemu-system-x86 \(4001\), 1 fd/);
  assert.match(facts, /Pod\s+tenant-a\/launcher-x7k2p\s+Container\s+compute/);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  await page.waitForURL(before);
  await rows(page).getByRole('button', { name: '#10' }).click();
  await dialog.waitFor();
  await page.goBack();
  await dialog.waitFor({ state: 'hidden' });
  assertClean(opened);
});

test('the URL hash can open a released buffer, a reason or an incident', async (t) => {
  const opened = await replays.open(t, join(RECORDINGS, 'revoke-slow-importer.ndjson'));
  const { page } = opened;
  const go = (hash: string) =>
    page.evaluate((to) => {
      location.hash = to;
    }, hash);
  // The inode depends on the guest that was recorded.
  const inode = await page.evaluate(async () => {
    const { buffers } = await (await fetch('api/v1/buffers')).json();
    return buffers[0].inode;
  });
  const dialog = page.getByRole('dialog', { name: `Buffer ${inode}` });
  await go(`buffer=${inode}`);
  await page.reload();
  await dialog.getByText('Released', { exact: true }).waitFor();
  await go('reason=not_revocable');
  await dialog.waitFor({ state: 'hidden' });
  await page.locator('.reason-open').getByText('Fix:').first().waitFor();
  await go('incident=1');
  await page.locator('.incident.wanted').waitFor();
  await go('reason=nonsense');
  await page.getByText('The server does not know a reason of this name.').waitFor();
  await go('incident=99');
  await page.getByText('Incident 99 is not known').waitFor();
  // The browser itself logs the 404 of the unknown reason.
  assert.deepEqual(
    opened.consoleMessages.filter((text) => !text.includes('404')),
    [],
  );
});

test('the topology shows each buffer, marks private ones and rejections, and is also available as a table', async (t) => {
  const opened = await replays.open(t, busy);
  const { page } = opened;
  const topology = page.locator('#topology');
  await counts(topology.locator('.node.buffer'), 14);
  await counts(topology.locator('.node.buffer.private'), 3);
  await counts(topology.locator('.node.buffer.revoked'), 2);
  assert.deepEqual(await topology.locator('.group text').allTextContents(), [
    'VM training-a',
    'VM training-b',
    'VM inference-eu',
    'VM web-7',
  ]);
  assert.ok((await topology.locator('.edge.rejected').count()) > 4);
  await topology.getByText('The graph as a table').click();
  const text = await topology.getByRole('table').innerText();
  assert.match(text, /VM training-b\s+0000:42:00.0\s+6, 256 KiB, private\s+kvm, kvm\s+mapped/);
  assert.match(text, /rejected: no_peer_to_peer/);
  assert.match(text, /amdgpu, 0000:e3:00.0\s+mapped\s+through the host bridge/);
  assert.match(
    await topology.innerText(),
    /Through the host bridge: each request goes up to the root complex/,
  );
  assertClean(opened);
});

test('the page can be used with the keyboard only', async (t) => {
  const opened = await replays.open(t, busy);
  const { page } = opened;
  await page.keyboard.press('Tab');
  assert.equal(
    await page.evaluate(() => document.activeElement?.textContent),
    'Skip to the state of this host',
  );
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
  // Tab from the filter to the first row, move down and up, open a buffer, and close it again.
  await page.getByLabel('Filter').focus();
  const label = () => page.evaluate(() => document.activeElement?.textContent ?? '');
  for (let steps = 0; (await label()) !== '#14'; steps += 1) {
    assert.ok(steps < 20, `Tab does not reach the first row: ${await label()}`);
    await page.keyboard.press('Tab');
  }
  for (const key of ['ArrowDown', 'ArrowDown', 'ArrowDown']) await page.keyboard.press(key);
  const focused = (name: string): Promise<void> => eventually(async () => assert.equal(await label(), name));
  await focused('#11');
  await page.keyboard.press('End');
  await focused('#1');
  await page.keyboard.press('Home');
  await focused('#14');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Buffer 14' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.closest('dialog') !== null), true);
  await page.keyboard.press('Escape');
  await focused('#14');
  const outline = await page.evaluate(() => {
    const style = getComputedStyle(document.activeElement as Element, '::after');
    return `${style.outlineStyle} ${style.outlineWidth}`;
  });
  assert.equal(outline, 'solid 2px');
  assertClean(opened);
});

test('the page fits the width of a phone and shows the columns of each buffer', async (t) => {
  const opened = await replays.open(t, busy, '', { viewport: NARROW });
  const { page } = opened;
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), NARROW.width);
  assert.match(await rows(page).first().innerText(), /#14[\s\S]*live[\s\S]*0000:42:00.0[\s\S]*training-b/);
  await rows(page).getByRole('button', { name: '#12' }).click();
  const box = await page.getByRole('dialog').boundingBox();
  assert.equal(box?.width, NARROW.width);
  assertClean(opened);
});

test('HTML in the names of VMs and processes is shown as text', async (t) => {
  const evil = '<img src=x onerror=alert(1)>';
  const lines = [...busyHost()].map((line) =>
    line.replaceAll('training-a', evil).replaceAll('qemu-system-x86', evil),
  );
  const file = join(program.folder, 'evil.ndjson');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const opened = await replays.open(t, file, '#buffer=1');
  await opened.page.getByRole('dialog').getByText(evil).first().waitFor();
  assert.equal(await opened.page.locator('img').count(), 0);
  assertClean(opened);
});

test('the content security policy blocks inline scripts and other origins, and the browser logs each violation', async (t) => {
  const opened = await replays.open(t, busy);
  const { page, consoleMessages } = opened;
  const result = await page.evaluate(async () => {
    const script = document.createElement('script');
    script.textContent = 'globalThis.foreign = true';
    document.body.append(script);
    const outcome = await fetch('http://127.0.0.1:9/').then(
      () => 'sent',
      () => 'rejected',
    );
    return { foreign: 'foreign' in globalThis, outcome };
  });
  assert.deepEqual(result, { foreign: false, outcome: 'rejected' });
  assert.match(consoleMessages.join('\n'), /script-src 'self'[\s\S]*connect-src 'self'/);
});

test('a page whose DNS name was rebound to this host gets a 421 for every request', async (t) => {
  const serving = await program.serve(t, ['replay', join(RECORDINGS, 'export-one-range.ndjson')]);
  const page = await (await openBrowser(t)).newPage();
  const { port } = new URL(serving.url);
  const answer = await page.goto(`http://rebound.example:${port}/`);
  assert.equal(answer?.status(), 421);
  assert.match(await page.locator('body').innerText(), /rebound\.example.*web\.allowed-hosts/s);
  const read = await page.evaluate(async () => {
    const { status } = await fetch('/api/v1/buffers');
    return status;
  });
  assert.equal(read, 421);
  assert.equal((await page.goto(`http://localhost:${port}/`))?.status(), 200);
});

test('without JavaScript the page has the summary and the links', async (t) => {
  const serving = await program.serve(t, ['replay', join(RECORDINGS, 'import-vgem.ndjson')]);
  await serving.until(async () => (await fetch(`${serving.url}/-/ready`)).status === 200, 'it to be ready');
  const context = await openBrowser(t, { javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(serving.url);
  await page.getByText('replay of import-vgem.ndjson: not this host, not now').waitFor();
  await page.getByRole('link', { name: '/metrics' }).click();
  await page.waitForURL(/\/metrics$/);
});
