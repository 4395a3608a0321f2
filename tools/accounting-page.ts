import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kernelMaps, measureHosts, memoryTable, seriesTable } from './capacity-table.ts';
import { replaceTable } from './markdown-table.ts';

export const ACCOUNTING_PAGE = join(import.meta.dirname, '../docs/accounting.md');

/** The sentence below the table of memory. */
const COUNTS = /for \d+ maps of counters and \d+(\s+maps of calls in progress)/;

/** The text of docs/accounting.md with its capacity tables and counts measured again. The other text is kept. */
export async function accountingPage(): Promise<string> {
  const page = readFileSync(ACCOUNTING_PAGE, 'utf8');
  const maps = await kernelMaps();
  const counters = maps.filter(({ perCpu }) => perCpu).length;
  const tables = [seriesTable(await measureHosts()), memoryTable(maps)];
  return tables
    .reduce(replaceTable, page)
    .replace(COUNTS, `for ${counters} maps of counters and ${maps.length - counters}$1`);
}
