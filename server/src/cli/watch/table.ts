import stringWidth from 'string-width';
import { neutral } from '../../support/neutral.ts';
import { fit } from '../text.ts';

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
/** No column is as wide; a longer text is not measured, for that takes long. */
const MEASURED = 1000;

/** A text of others as it may stand in a table: no character of it moves the cursor, and its width can be measured. */
export function cellOf(text: string): string {
  return neutral(text.length > MEASURED ? text.slice(0, MEASURED) : text);
}

/** Lays rows out in at most `width` columns: by importance, what does not fit is left out, and nothing is ever wrapped. */
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
    // The first one stays, however narrow it is.
    if (left < least + GAP.length && widths.size > 0) break;
    const given = Math.max(0, Math.min(least, left - GAP.length));
    widths.set(index, given);
    left -= given + GAP.length;
  }
  // What room is left makes the short columns whole before the long ones.
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
