import stringWidth from 'string-width';
import { fit } from './text.ts';

export interface Column<Row> {
  title: string;
  /** The lower, the longer it stays where the terminal is narrow. */
  rank: number;
  /** Never wider; and where there is little room, cut down to `least` before it is left out. */
  most: number;
  least: number;
  /** Numbers stand at the right. */
  right?: true;
  text(row: Row): string;
}

export interface Table {
  header: string;
  rows: string[];
}

const GAP = '  ';

/** Lays rows out in at most `width` columns: by importance, what does not fit is left out, and nothing is ever wrapped. */
export function layOut<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number): Table {
  const cells = columns.map(({ title, text }) => [title, ...rows.map(text)]);
  const wanted = columns.map(({ most }, index) =>
    Math.min(most, Math.max(...(cells[index] ?? []).map((cell) => stringWidth(cell)))),
  );
  const widths = new Map<number, number>();
  let left = width + GAP.length;
  const byRank = columns
    .map((_, index) => index)
    .sort((a, b) => (columns[a]?.rank ?? 0) - (columns[b]?.rank ?? 0));
  for (const index of byRank) {
    const room = left - GAP.length;
    const want = wanted[index] ?? 0;
    if (room < Math.min(want, columns[index]?.least ?? 0)) break;
    widths.set(index, Math.min(want, room));
    left -= Math.min(want, room) + GAP.length;
  }
  const shown = columns.map((column, index) => ({ column, index })).filter(({ index }) => widths.has(index));
  const line = (row: number): string =>
    shown
      .map(({ column, index }) => {
        const text = fit(cells[index]?.[row] ?? '', widths.get(index) ?? 0);
        return column.right ? text.trimEnd().padStart(text.length) : text;
      })
      .join(GAP)
      .trimEnd();
  return { header: line(0), rows: rows.map((_, index) => line(index + 1)) };
}
