import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import type { AxeResults, RunOptions } from 'axe-core';
import type { Page } from 'playwright-core';
import { NARROW, WIDE } from './browser.ts';
import { Replays } from './replays.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const replays = new Replays();

async function violations(page: Page): Promise<string[]> {
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run: (options: RunOptions) => Promise<AxeResults> } };
    // The default rule set includes best practices. Only violations are returned, not what axe could not decide.
    return (await axe.run({ resultTypes: ['violations'] })).violations;
  });
  return found.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`),
  );
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const viewport of [WIDE, NARROW]) {
    test(`axe finds no violation in ${colorScheme} mode at ${viewport.width} px, with all parts closed or opened`, async (t) => {
      const { page } = await replays.open(t, replays.busy, '', { colorScheme, viewport });
      // evaluate() is not subject to the content security policy of the page, which blocks other scripts.
      await page.evaluate(AXE);
      await page.locator('.plot-legend').first().waitFor();
      assert.deepEqual(await violations(page), []);
      await page.getByText('The graph as a table').click();
      await page.locator('#rejections').getByRole('button').filter({ hasText: 'rejected' }).first().click();
      await page.locator('.opened').getByText('Fix:').first().waitFor();
      await page.getByText("The kernel's rule").click();
      await page.getByText('functions attached').first().click();
      assert.deepEqual(await violations(page), []);
      await page.locator('#buffers').getByRole('button', { name: '#10' }).click();
      await page.getByRole('dialog').getByText('Exported').waitFor();
      assert.deepEqual(await violations(page), []);
      // Break two rules on purpose, to prove that axe can find a violation here.
      await page.locator('.close').evaluate((button) => {
        button.removeAttribute('aria-label');
        button.textContent = '';
      });
      // This grey has too little contrast in both color schemes.
      await page.locator('#life-title').evaluate((title) => {
        title.style.color = '#808080';
      });
      const found = (await violations(page)).join('\n');
      assert.match(found, /^button-name: /m);
      assert.match(found, /^color-contrast: #life-title/m);
    });
  }
}
