import { neutral } from '../../lib/neutral.ts';
import type { Span } from '../output.ts';
import { fold } from '../text.ts';
import type { Check, Diagnosis } from './diagnosis.ts';

export interface ReportStyle {
  color: boolean;
  /** Width at which lines wrap; undefined: lines do not wrap. */
  columns: number | undefined;
}

const MARKS = {
  found: { text: 'found', color: 32 },
  warning: { text: 'warning', color: 33 },
  missing: { text: 'NOT FOUND', color: 31 },
} as const satisfies Record<Check['state'], { text: string; color: number }>;
const MARK_WIDTH = Math.max(...Object.values(MARKS).map(({ text }) => text.length));

/** Formats the diagnosis as text: one row for each check, followed by its fix. */
export function report({ kernel, traceable, checks }: Diagnosis, style: ReportStyle): Span[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const indent = MARK_WIDTH + width + 4;
  const paint = (text: string, color: number): Span => ({ text, sgr: style.color ? String(color) : '' });
  const spans = checks.flatMap<Span>(({ name, state, message, remedy }) => {
    const mark = MARKS[state];
    const texts = remedy === null ? [message] : [message, `fix: ${remedy}`];
    const wrapped = texts.flatMap((text) => fold(neutral(text), style.columns && style.columns - indent));
    return [
      paint(mark.text.padEnd(MARK_WIDTH), mark.color),
      `  ${name.padEnd(width)}  ${wrapped.join(`\n${' '.repeat(indent)}`)}\n`,
    ];
  });
  const count = (state: Check['state']) => checks.filter((check) => check.state === state).length;
  const warnings =
    count('warning') === 0 ? '' : `, ${count('warning')} warnings`.replace(/\b1 warnings/, '1 warning');
  const verdict = traceable
    ? paint(`This host (kernel ${kernel}) can be traced`, 32)
    : paint(
        `This host (kernel ${kernel}) cannot be traced: ${count('missing')} of ${checks.length} not found`,
        31,
      );
  return [...spans, '\n', verdict, `${warnings}.\n`];
}
