import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kernelMaps, measureHosts, memoryTable, seriesTable } from './capacity-table.ts';

export const ACCOUNTING_PAGE = join(import.meta.dirname, '../docs/accounting.md');

/** The text of docs/accounting.md with its capacity tables measured again. The text around the tables is kept. */
export async function accountingPage(): Promise<string> {
  const page = readFileSync(ACCOUNTING_PAGE, 'utf8');
  const tables = [seriesTable(await measureHosts()), memoryTable(await kernelMaps())];
  return tables.reduce((text, table) => {
    const firstCell = table.slice(0, table.indexOf(' |', 1)).trimEnd();
    const old = text.match(/(?:^\|.*\n)+/gm)?.find((one) => one.startsWith(firstCell));
    if (old === undefined) throw new Error(`docs/accounting.md has no table that begins with "${firstCell}"`);
    return text.replace(old, () => table);
  }, page);
}
