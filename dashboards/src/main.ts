import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dashboardFiles } from './all.ts';

for (const [name, text] of dashboardFiles()) {
  const path = join(import.meta.dirname, '../json', name);
  writeFileSync(path, text);
  console.log(`written: dashboards/json/${name}`);
}
