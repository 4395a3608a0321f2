import { writeFileSync } from 'node:fs';
import { ACCOUNTING_PAGE, accountingPage } from './accounting-page.ts';
import { ALERTS_PAGE, alertsPage } from './alerts-page.ts';
import { INCIDENTS_PAGE, incidentsPage } from './incidents-page.ts';
import { allFamilies, METRICS_PAGE, pageOf } from './metrics-page.ts';
import { PERFORMANCE_PAGE, performancePage } from './performance-page.ts';
import { REASONS_PAGE, reasonsPage } from './reasons-page.ts';
import { RECORDINGS_PAGE, recordingsPage } from './recordings-page.ts';
import { STREAM_PAGE, streamPage } from './stream-page.ts';

const pages = {
  [METRICS_PAGE]: pageOf(await allFamilies()),
  [REASONS_PAGE]: reasonsPage(),
  [INCIDENTS_PAGE]: incidentsPage(),
  [STREAM_PAGE]: streamPage(),
  [ACCOUNTING_PAGE]: await accountingPage(),
  [ALERTS_PAGE]: alertsPage(),
  [PERFORMANCE_PAGE]: performancePage(),
  [RECORDINGS_PAGE]: recordingsPage(),
};
for (const [path, text] of Object.entries(pages)) {
  writeFileSync(path, text);
  console.log(`written: ${path}`);
}
