import { EXPLAINED_NAMES, EXPLANATIONS, type Explanation, explain } from '../reference/catalogue.ts';
import { kernels } from '../reference/words.ts';
import { problemsError } from '../support/problems.ts';
import { didYouMean } from '../support/suggest.ts';
import { writeAll } from '../support/write-all.ts';
import type { CommandContext } from './commands.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';

/** What the names mean: the same entries that the API and docs/reasons.md have. */
export async function reasons({ names, json, stdout }: CommandContext): Promise<ExitCode> {
  const unknown = names.filter((name) => explain(name) === undefined);
  if (unknown.length > 0) {
    const problems = unknown.map((name) => ({
      what: `there is no reason ${JSON.stringify(name)}`,
      where: 'command line',
      remedy: didYouMean(name, EXPLAINED_NAMES),
    }));
    throw problemsError('bad_usage', 'names are unknown', problems);
  }
  const asked = names.length === 0 ? EXPLANATIONS : EXPLANATIONS.filter(({ name }) => names.includes(name));
  await writeAll(
    stdout,
    json ? `${JSON.stringify(asked, null, 2)}\n` : names.length === 0 ? list(asked) : whole(asked),
  );
  return EXIT.ok;
}

function list(asked: readonly Explanation[]): string {
  const width = Math.max(...asked.map(({ name }) => name.length));
  const lines = asked.map(({ name, topic, what }) => `${name.padEnd(width)}  ${topic.padEnd(9)}  ${what}\n`);
  return lines.join('');
}

function whole(asked: readonly Explanation[]): string {
  const blocks = asked.map(({ name, topic, what, rules, remedy, printed }) =>
    [
      `${name} (${topic})`,
      `  ${what}`,
      ...(printed ? [] : ['  No probe of this version prints it.']),
      ...rules.map((rule) => {
        const errno = rule.errno === null ? '' : ` ${rule.errno}`;
        return `  at ${rule.step}:${errno} ${rule.function} (${rule.file}, ${kernels(rule)}): ${rule.check}`;
      }),
      `  to do: ${remedy}`,
      '',
    ].join('\n'),
  );
  return blocks.join('\n');
}
