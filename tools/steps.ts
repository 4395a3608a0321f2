/** What one step of npm test came to. */
export interface StepResult {
  name: string;
  ok: boolean;
  status: string;
  seconds: number;
  output: string;
}

/** One thing that the lab or the image says of itself: `  12 s  ok      NAME` or `  12 s  FAILED  NAME`. */
export interface Check {
  title: string;
  ok: boolean;
}

const CHECK = /^ *\d+ s {2}(ok {6}|FAILED {2})(.*)$/;
const TALLY = /^lab: (\d+) passed, (\d+) failed$/m;

/** `CELL: NAME`, without the sentence and the seconds behind it: what runs again in another guest has the same. */
const subjectOf = (title: string): string => title.split(': ', 2).join(': ');

/**
 * The single checks of a step, in the order in which it printed them first; of what ran again, because its guest was lost, the last
 * result. The lab counts its own; where that count and this list differ one more check fails, for then a result was not read.
 */
export function checksOf({ name, output }: Pick<StepResult, 'name' | 'output'>): Check[] {
  const last = new Map<string, Check>();
  for (const line of output.split('\n')) {
    const match = CHECK.exec(line);
    if (match === null) continue;
    const title = (match[2] ?? '').trim();
    last.set(subjectOf(title), { title, ok: match[1]?.startsWith('ok') === true });
  }
  const checks = [...last.values()];
  if (name !== 'lab') return checks;
  const tally = TALLY.exec(output);
  const counted = [checks.filter(({ ok }) => ok).length, checks.filter(({ ok }) => !ok).length];
  const agreed = tally !== null && Number(tally[1]) === counted[0] && Number(tally[2]) === counted[1];
  const title = `its count (${tally?.[0] ?? 'none was printed'}) is that of its results (${counted.join(' and ')})`;
  return [...checks, { title, ok: agreed }];
}
