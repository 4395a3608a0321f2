import stringWidth from 'string-width';
import { neutral } from '../../lib/neutral.ts';
import { fit } from '../text.ts';

export interface Column<Row> {
  title: string;
  /** Columns with a lower rank stay longest in a narrow terminal. */
  rank: number;
  /** Maximum width. */
  most: number;
  /** Minimum width. A column that would be narrower is omitted. */
  least: number;
  /** Aligns right, for numbers. */
  right?: true;
  text(row: Row): string;
}

export interface Table {
  header: string;
  rows: string[];
}

const GAP = '  ';
/** Longer texts are cut before they are measured, because measuring is slow. Every column is narrower. */
const MEASURED = 1000;

/** Makes a text of another program safe for a table: without control characters and of limited length. */
export function cellOf(text: string): string {
  return neutral(text.length > MEASURED ? text.slice(0, MEASURED) : text);
}

/** Lays out rows in at most `width` characters. Columns that do not fit are omitted by rank. Rows never wrap. */
export function layOut<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number): Table {
  const cells = columns.map(({ title, text }) => [title, ...rows.map((row) => cellOf(text(row)))]);
  const wanted = columns.map(({ most }, index) =>
    Math.min(
      most,
      (cells[index] ?? []).reduce((widest, cell) => Math.max(widest, stringWidth(cell)), 0),
    ),
  );
  const widths = new Map<number, number>();
  let left = width + GAP.length;
  const all = columns.map((_, index) => index);
  const want = (index: number) => wanted[index] ?? 0;
  const rank = (index: number) => columns[index]?.rank ?? 0;
  for (const index of all.toSorted((a, b) => rank(a) - rank(b))) {
    const least = Math.min(want(index), columns[index]?.least ?? 0);
    // The first column is always shown.
    if (left < least + GAP.length && widths.size > 0) break;
    const granted = Math.max(0, Math.min(least, left - GAP.length));
    widths.set(index, granted);
    left -= granted + GAP.length;
  }
  // The remaining width goes to short columns before long ones.
  for (const index of [...widths.keys()].sort((a, b) => want(a) - want(b))) {
    const had = widths.get(index) ?? 0;
    const more = Math.max(0, Math.min(want(index) - had, left));
    widths.set(index, had + more);
    left -= more;
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
