/** A formatted Markdown table: each column is as wide as its widest cell. The first row is the head. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[], fill = ' '): string =>
    `| ${widths.map((width, column) => (row[column] ?? '').padEnd(width, fill)).join(' | ')} |\n`;
  return [line(head), line([], '-'), ...body.map((row) => line(row))].join('');
}

/** Replaces the table of a page that has the same first cell. */
export function replaceTable(page: string, table: string): string {
  const firstCell = table.slice(0, table.indexOf(' |', 1)).trimEnd();
  const old = page.match(/(?:^\|.*\n)+/gm)?.find((one) => one.startsWith(`${firstCell} `));
  if (old === undefined) throw new Error(`the page has no table that begins with "${firstCell}"`);
  return page.replace(old, () => table);
}
