import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Costs, ONE_LINER, UNTRACED } from '../lab/src/cost.ts';
import { markdownTable, replaceTable } from './markdown-table.ts';

const DOCS = join(import.meta.dirname, '../docs');
export const PERFORMANCE_PAGE = join(DOCS, 'performance.md');

/** The text of docs/performance.md with its tables made from docs/performance.json. The other text is kept. */
export function performancePage(): string {
  const costs = JSON.parse(readFileSync(join(DOCS, 'performance.json'), 'utf8')) as Costs;
  const page = readFileSync(PERFORMANCE_PAGE, 'utf8');
  return [versionsTable(costs), callsTable(costs), startTable(costs)].reduce(replaceTable, page);
}

const grouped = (count: number): string => count.toLocaleString('en-US');

function callsTable({ calls }: Costs): string {
  const untraced = calls[UNTRACED] ?? {};
  const oneLiner = calls[ONE_LINER] ?? {};
  const rows = Object.entries(calls).flatMap(([tracer, byCall]) =>
    Object.entries(byCall).map(([call, instructions]) => {
      const ratio = (to: number | undefined): string => `${(instructions / (to ?? Number.NaN)).toFixed(1)} x`;
      return [call, tracer, grouped(instructions), ratio(untraced[call]), ratio(oneLiner[call])];
    }),
  );
  const order = Object.keys(untraced);
  rows.sort(([a = ''], [b = '']) => order.indexOf(a) - order.indexOf(b));
  return markdownTable([
    ['one call', 'traced by', 'instructions', 'of untraced', 'of the one-liner'],
    ...rows,
  ]);
}

function versionsTable({ kernel, bpftrace }: Costs): string {
  return markdownTable([
    ['kernel', 'bpftrace'],
    [kernel, bpftrace],
  ]);
}

function startTable({ start }: Costs): string {
  const rows = Object.entries(start).map(([program, millions]) => [program, grouped(millions)]);
  return markdownTable([['program', 'millions of instructions'], ...rows]);
}
