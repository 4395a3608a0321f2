import { TracerError, type UserCode } from './errors.ts';

/** One thing the user has to change: what is wrong, where it stands, how fix. */
export interface Problem {
  what: string;
  where: string;
  remedy: string;
}

/** One error that says all of them, so that nobody mends a config one run at a time. */
export function problemsError(code: UserCode, heading: string, problems: readonly Problem[]): TracerError {
  const [first] = problems;
  if (first !== undefined && problems.length === 1) {
    return new TracerError(code, first.what, { where: first.where, remedy: first.remedy });
  }
  const blocks = problems.map((problem) =>
    new TracerError(code, problem.what, { where: problem.where, remedy: problem.remedy })
      .describe()
      .replaceAll(/^/gm, '  '),
  );
  return new TracerError(code, [`${problems.length} ${heading}:`, ...blocks].join('\n'));
}
