import { neutral } from '../../lib/neutral.ts';
import type { Span } from '../output.ts';
import { fold } from '../text.ts';
import type { Check, Diagnosis } from './diagnosis.ts';

export interface ReportStyle {
  color: boolean;
  /** Width at which lines wrap; undefined: lines do not wrap. */
  columns: number | undefined;
}

const COLORS = { ok: 32, warning: 33, missing: 31 } as const satisfies Record<Check['state'], number>;
const STATE_WIDTH = Math.max(...Object.keys(COLORS).map((state) => state.length));

/** Formats the diagnosis as text: one row for each check, followed by its fix. */
export function report({ kernel, traceable, checks }: Diagnosis, style: ReportStyle): Span[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const indent = STATE_WIDTH + width + 4;
  const paint = (text: string, color: number): Span => ({ text, sgr: style.color ? String(color) : '' });
  const spans = checks.flatMap<Span>(({ name, state, message, remedy }) => {
    const texts = remedy === null ? [message] : [message, `fix: ${remedy}`];
    const wrapped = texts.flatMap((text) => fold(neutral(text), style.columns && style.columns - indent));
    return [
      paint(state.padEnd(STATE_WIDTH), COLORS[state]),
      `  ${name.padEnd(width)}  ${wrapped.join(`\n${' '.repeat(indent)}`)}\n`,
    ];
  });
  const count = (state: Check['state']) => checks.filter((check) => check.state === state).length;
  const warnings =
    count('warning') === 0 ? '' : `, ${count('warning')} warnings`.replace(/\b1 warnings/, '1 warning');
  const verdict = traceable
    ? paint(`This host (kernel ${kernel}) can be traced`, 32)
    : paint(`This host (kernel ${kernel}) cannot be traced: ${count('missing')} missing`, 31);
  return [...spans, '\n', verdict, `${warnings}.\n`];
}
