import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RecordDeclaration } from '../server/src/protocol/declaration.ts';
import { MAP_DECLARATIONS, RECORDS } from '../server/src/protocol/declared.ts';
import { markdownTable, replaceTable } from './markdown-table.ts';

export const STREAM_PAGE = join(import.meta.dirname, '../docs/stream.md');

const BY_TAG: readonly RecordDeclaration[] = RECORDS.toSorted((a, b) => a.tag - b.tag);

/** The text of docs/stream.md with its tables generated from the declarations. The text around the tables is kept. */
export function streamPage(): string {
  const page = readFileSync(STREAM_PAGE, 'utf8');
  return [recordTable(), fieldTable(), mapTable()].reduce(replaceTable, page);
}

function recordTable(): string {
  const rows = BY_TAG.map(({ tag, name, event, fields, note }) => {
    const names = fields === null ? [] : [Object.keys(fields).join(', ')];
    return [
      String(tag),
      name,
      event ? 'yes' : 'no',
      [...names, ...(note === undefined ? [] : [note])].join('; '),
    ];
  });
  return markdownTable([['tag', 'record', 'event', 'fields after the tag'], ...rows]);
}

/** A field whose name has several meanings has a row for each record. */
function fieldTable(): string {
  const fields = BY_TAG.flatMap((record) =>
    Object.entries(record.fields ?? {}).map(([name, field]) => ({ record: record.name, name, field })),
  );
  const rows = fields.map(({ record, name, field: { unit, meaning } }) => {
    const unique = fields.every((other) => other.name !== name || other.field.meaning === meaning);
    return [unique ? `\`${name}\`` : `\`${name}\` of ${record}`, unit ?? '-', meaning];
  });
  const distinct = new Map(rows.map((row) => [row[0], row]));
  return markdownTable([['field', 'unit', 'meaning'], ...distinct.values()]);
}

function mapTable(): string {
  const rows = MAP_DECLARATIONS.toSorted((a, b) => a.number - b.number).map((map) => [
    String(map.number),
    `\`@${map.name}\``,
    map.key.join(', ') || '-',
    `${map.holds} of ${map.of}`,
  ]);
  return markdownTable([['number', 'map', 'key', 'value'], ...rows]);
}
