/** Result of one step of npm test. */
export interface StepResult {
  name: string;
  ok: boolean;
  status: string;
  seconds: number;
  output: string;
}

/** One result that the lab or the image prints: `  12 s  ok      NAME` or `  12 s  FAILED  NAME`. */
export interface Check {
  title: string;
  ok: boolean;
}

const CHECK = /^ *\d+ s {2}(ok {6}|FAILED {2})(.*)$/;
const TALLY = /^lab: (\d+) passed, (\d+) failed$/m;

/**
 * `CELL: NAME`, without the sentence and the seconds that follow. A repeated run in another guest has the same subject.
 */
function subjectOf(title: string): string {
  return title.split(': ', 2).join(': ');
}

/**
 * The checks of a step, in the order of their first result. If a check ran again because its guest was lost, its last
 * result counts. The lab also prints how many passed and failed. One more check fails if that differs from this list:
 * then a result was not read.
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
  const title = `its summary (${tally?.[0] ?? 'missing'}) matches its results (${counted.join(' and ')})`;
  return [...checks, { title, ok: agreed }];
}
