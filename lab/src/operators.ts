import assert from 'node:assert/strict';
import { join } from 'node:path';
import { expressions } from '../../dashboards/test/expressions.ts';
import { OwnServer, startPrometheus } from '../../dashboards/test/servers.ts';
import { assertClean, openBrowser, openPage } from '../../server/test/browser/browser.ts';
import { eventually } from '../../server/test/fixtures/eventually.ts';
import { isUsualOnce } from './cells.ts';
import { ensurePackages } from './host-packages.ts';
import { PLAIN } from './scenarios/names.ts';
import type { Trial } from './trial.ts';

const RULES = join(import.meta.dirname, '../../dashboards/rules');
const REJECTED = [`device=${PLAIN}`, 'export=2,0:4096', 'vgem=0', 'close=0'];

/** Configuration that scrapes the daemon every 5 s and evaluates the rules of dashboards/rules. */
const configuration = (
  target: string,
): string => `global: { scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 5s }
rule_files: ['${RULES}/*.yaml']
scrape_configs:
  - job_name: vfio-dmabuf-tracer
    static_configs: [{ targets: ['${target}'], labels: { cluster: lab } }]
`;

/**
 * Runs all queries of dashboards, annotations, rules and alerts, and counts the panel queries that have data for this
 * host.
 * @throws Error if Prometheus rejects a query.
 */
const answers = async (
  target: string,
  prometheus: OwnServer,
): Promise<{ asked: number; answered: number }> => {
  let [asked, answered] = [0, 0];
  for (const { of, expr } of expressions(target)) {
    const empty = (await prometheus.query(expr)).length === 0;
    if (of !== 'panel') continue;
    asked += 1;
    if (!empty) answered += 1;
  }
  return { asked, answered };
};

export const OPERATORS: Trial = {
  name: 'operators',
  title:
    'a live kernel with a real browser and a real Prometheus: both show a rejection, and the page explains it',
  belongs: isUsualOnce,
  run: async (lab, log) => {
    await ensurePackages(['prometheus', 'chromium'], log);
    await lab.settle();
    const target = new URL(lab.url).host;
    const endings: (() => Promise<void>)[] = [];
    const prometheus = new OwnServer();
    endings.push(() => prometheus.stop());
    try {
      await startPrometheus(prometheus, configuration(target));
      const context = await openBrowser({ after: (end) => endings.push(end), diagnostic: log });
      const opened = await openPage(context, lab.url);
      const { page } = opened;
      page.setDefaultTimeout(60_000);
      const rejections = page
        .locator('#rejections')
        .getByRole('button', { name: /vgem was rejected at attach/ });
      // The list renders only its visible rows, the newest first.
      const newest = async (): Promise<string> => (await rejections.allTextContents())[0] ?? '';
      const before = await newest();

      // The page and Prometheus already run, so this rejection arrives as a live update.
      await lab.session(...REJECTED);
      await eventually(async () => assert.notEqual(await newest(), before));
      await rejections.first().click();
      const explained = page.locator('.opened');
      await explained.getByText('Fix:').waitFor();
      assert.match((await explained.textContent()) ?? '', /peer-to-peer/);
      await page.keyboard.press('Escape');
      await page.getByLabel('Filter').fill('no such device');
      await eventually(async () =>
        assert.match((await page.locator('#buffers .count').textContent()) ?? '', /^0 of /),
      );
      assertClean(opened);

      const counted = `increase(vfio_dmabuf_import_rejections_total{cluster="lab",device="${PLAIN}",importer="vgem",reason="no_peer_to_peer"}[2m]) > 0`;
      await lab.until('Prometheus to have counted it', 120, async () => {
        await lab.session(...REJECTED);
        return (await prometheus.query(counted)).length === 1;
      });
      const { asked, answered } = await answers(target, prometheus);
      log(`${answered} of ${asked} panel queries have data for this host`);
      assert.ok(answered > asked / 2);
      const blind = await prometheus.query('ALERTS{alertstate="firing",severity="critical"}');
      assert.deepEqual(
        blind.map(({ metric }) => metric.alertname),
        [],
        'a host without problems has no critical alert',
      );
    } finally {
      for (const end of endings.reverse()) await end();
    }
  },
};
