import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { INCIDENT_ENTRIES } from '../server/src/reference/incidents.ts';

export const INCIDENTS_PAGE = join(import.meta.dirname, '../docs/incidents.md');

/** docs/incidents.md as it has to be: its table is that of the catalogue, the text around it is its own. */
export const incidentsPage = (): string => {
  const rows = Object.entries(INCIDENT_ENTRIES).map(([kind, { opens, closes, remedy }]) => [
    `\`${kind}\``,
    opens,
    closes,
    remedy,
  ]);
  const whole = [['kind', 'opens', 'closes', 'what to do'], ...rows];
  // Aligned, as the formatter wants it.
  const widths = [0, 1, 2, 3].map((column) => Math.max(...whole.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[], fill: string): string =>
    `| ${widths.map((width, column) => (row[column] ?? '').padEnd(width, fill)).join(' | ')} |\n`;
  const [head = [], ...body] = whole;
  const table = [line(head, ' '), line([], '-'), ...body.map((row) => line(row, ' '))].join('');
  return readFileSync(INCIDENTS_PAGE, 'utf8').replace(/(?:^\|.*\n)+/m, () => table);
};
