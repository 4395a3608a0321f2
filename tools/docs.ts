import { writeFileSync } from 'node:fs';
import { allFamilies, METRICS_PAGE, pageOf } from './metrics-page.ts';
import { REASONS_PAGE, reasonsPage } from './reasons-page.ts';

const pages = { [METRICS_PAGE]: pageOf(await allFamilies()), [REASONS_PAGE]: reasonsPage() };
for (const [path, text] of Object.entries(pages)) {
  writeFileSync(path, text);
  console.log(`written: ${path}`);
}
