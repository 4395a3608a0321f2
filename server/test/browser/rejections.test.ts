import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../fixtures/eventually.ts';
import { assertClean, NARROW, WIDE } from './browser.ts';
import { Replays } from './replays.ts';

const PRIVATE_OFFERED = fileURLToPath(new URL('../../../recordings/private-offered.ndjson', import.meta.url));
const replays = new Replays();
const { busy } = replays;

test('an accepted offer of private memory stays critical after its end, with its fix and a runbook', async (t) => {
  const opened = await replays.open(t, PRIVATE_OFFERED);
  const { page } = opened;
  await page.getByRole('heading', { level: 1, name: 'Critical' }).waitFor();
  const accepted = page.locator('.incident').first();
  await accepted.getByText('critical', { exact: true }).waitFor();
  await accepted.getByText('ended', { exact: true }).waitFor();
  assert.match(await accepted.innerText(), /accepted once.*Fix: Do not look for another importer/s);
  const runbook = await accepted.getByRole('link', { name: 'Runbook' }).getAttribute('href');
  assert.equal((await fetch(new URL(runbook ?? '', page.url()))).status, 200);
  const rejected = page.locator('.incident').nth(1);
  await rejected.getByText('warning', { exact: true }).waitFor();
  assertClean(opened);
});

test('the fix for a rejected private buffer never suggests another importer', async (t) => {
  const opened = await replays.open(t, PRIVATE_OFFERED);
  const { page } = opened;
  await page
    .locator('#rejections')
    .getByRole('button', { name: /vgem was rejected at attach: EOPNOTSUPP/ })
    .click();
  const panel = page.locator('.opened');
  await panel.getByText('Fix:').waitFor();
  const text = await panel.innerText();
  assert.match(text, /Do not look for another importer: only KVM may import this buffer/);
  assert.doesNotMatch(text, /use one that|amdgpu|dma-heap/);
  assert.match(text, /EOPNOTSUPP \(errno 95\)/);
  assertClean(opened);
});

test('rejections are filtered by device, and the address keeps the filter', async (t) => {
  const opened = await replays.open(t, busy);
  const { page } = opened;
  const devices = page.locator('#rejections [data-index] .e-device');
  const shown = async () => [...new Set(await devices.allInnerTexts())];
  await eventually(async () => assert.notDeepEqual(await shown(), []));
  const [device = ''] = await shown();
  await page.locator('#rejections').getByLabel('Device').selectOption(device);
  await eventually(async () => assert.deepEqual(await shown(), [device]));
  assert.ok(page.url().includes(encodeURIComponent(device)) || page.url().includes(device));
  const others = await page.locator('#rejections').getByLabel('Device').locator('option').allInnerTexts();
  const other = others.find((one) => one !== 'all' && one !== device) ?? '';
  await page.locator('#rejections').getByLabel('Device').selectOption(other);
  await eventually(async () => assert.ok(!(await shown()).includes(device)));
  assertClean(opened);
});

test('a name that is not a reason of rejections has no count', async (t) => {
  const opened = await replays.open(t, PRIVATE_OFFERED, '#reason=private_offered');
  const { page } = opened;
  await page.locator('.reason-open').getByText('Do not look for another importer').waitFor();
  assert.doesNotMatch(await page.locator('#rejections .count').innerText(), /rejected since the start/);
  assertClean(opened);
});

test('a narrow screen shows task and device of a rejection, and the whole navigation', async (t) => {
  const opened = await replays.open(t, PRIVATE_OFFERED, '', { viewport: NARROW });
  const { page } = opened;
  const row = page.locator('#rejections [data-index]').first();
  assert.ok(await row.locator('.e-who').isVisible());
  assert.match(await row.innerText(), /session \(\d+\)/);
  assert.match(await row.innerText(), /0000:00:08\.0/);
  for (const button of await page.locator('.top nav button').all()) {
    const box = await button.boundingBox();
    assert.ok(box !== null && box.x >= 0 && box.x + box.width <= NARROW.width, await button.innerText());
  }
  assertClean(opened);
});

for (const viewport of [WIDE, NARROW]) {
  test(`rows of all events do not overlap at a width of ${viewport.width}`, async (t) => {
    const opened = await replays.open(t, PRIVATE_OFFERED, '#feed=all', { viewport });
    const rows = opened.page.locator('#rejections [data-index]');
    await eventually(async () => assert.ok((await rows.count()) > 3));
    const boxes = await Promise.all((await rows.all()).map((row) => row.boundingBox()));
    const sorted = boxes.flatMap((box) => (box === null ? [] : [box])).sort((a, b) => a.y - b.y);
    for (const [index, box] of sorted.entries()) {
      const next = sorted[index + 1];
      assert.ok(next === undefined || box.y + box.height <= next.y + 1, `row ${index} overlaps the next one`);
      assert.equal(box.x, sorted[0]?.x);
    }
    assertClean(opened);
  });
}
