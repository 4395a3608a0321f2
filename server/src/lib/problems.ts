import { TracerError, type UserCode } from './errors.ts';

/** One problem that the user must fix: what is wrong, where, and how to fix it. */
export interface Problem {
  what: string;
  where: string;
  remedy: string;
}

/** Combines all problems into one error, so that a user can fix them all after one run. */
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
