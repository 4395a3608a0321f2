import { writeFileSync } from 'node:fs';
import { allFamilies, METRICS_PAGE, pageOf } from './metrics-page.ts';

writeFileSync(METRICS_PAGE, pageOf(await allFamilies()));
console.log(`written: ${METRICS_PAGE}`);
