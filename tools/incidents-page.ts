import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { INCIDENT_KINDS } from '../server/src/contract/incidents.ts';
import { INCIDENT_RULES } from '../server/src/incidents/rules/index.ts';
import { markdownTable } from './markdown-table.ts';

export const INCIDENTS_PAGE = join(import.meta.dirname, '../docs/incidents.md');

/** The text of docs/incidents.md with its table generated from the rules. The text around the table is kept. */
export function incidentsPage(): string {
  const rows = INCIDENT_KINDS.map((kind) => {
    const { opens, closes, remedy } = INCIDENT_RULES[kind];
    return [`\`${kind}\``, opens, closes, remedy];
  });
  const table = markdownTable([['kind', 'opens', 'closes', 'what to do'], ...rows]);
  return readFileSync(INCIDENTS_PAGE, 'utf8').replace(/(?:^\|.*\n)+/m, () => table);
}
