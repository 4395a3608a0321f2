import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { INCIDENT_ENTRIES } from '../server/src/reference/incidents.ts';
import { markdownTable } from './markdown-table.ts';

export const INCIDENTS_PAGE = join(import.meta.dirname, '../docs/incidents.md');

/** The text of docs/incidents.md with its table generated from the catalogue. The text around the table is kept. */
export function incidentsPage(): string {
  const rows = Object.entries(INCIDENT_ENTRIES).map(([kind, { opens, closes, remedy }]) => [
    `\`${kind}\``,
    opens,
    closes,
    remedy,
  ]);
  const table = markdownTable([['kind', 'opens', 'closes', 'what to do'], ...rows]);
  return readFileSync(INCIDENTS_PAGE, 'utf8').replace(/(?:^\|.*\n)+/m, () => table);
}
