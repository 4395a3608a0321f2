import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kernelMaps, measureHosts, memoryTable, seriesTable } from './capacity-table.ts';
import { replaceTable } from './markdown-table.ts';

export const ACCOUNTING_PAGE = join(import.meta.dirname, '../docs/accounting.md');

/** The text of docs/accounting.md with its capacity tables measured again. The text around the tables is kept. */
export async function accountingPage(): Promise<string> {
  const page = readFileSync(ACCOUNTING_PAGE, 'utf8');
  const tables = [seriesTable(await measureHosts()), memoryTable(await kernelMaps())];
  return tables.reduce(replaceTable, page);
}
