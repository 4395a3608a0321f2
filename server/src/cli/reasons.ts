import { problemsError } from '../lib/problems.ts';
import { didYouMean } from '../lib/suggest.ts';
import {
  EXPLAINED_NAMES,
  EXPLANATIONS,
  type Explanation,
  explain,
  findExplanations,
} from '../reference/catalogue.ts';
import { kernelsText } from '../reference/kernels-text.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { print, printJson } from './output.ts';

/** If more entries match, they are listed and not explained. */
const MAX_EXPLAINED = 6;

/** Explains names and log texts, from the same entries as the API and docs/reasons.md. */
export async function reasons({ names, json, stdout }: CommandContext): Promise<ExitCode> {
  const asked = names.length === 0 ? EXPLANATIONS : found(names);
  if (json) await printJson(stdout, JSON.stringify(asked, null, 2));
  else {
    const isLong = names.length === 0 || (asked.length > MAX_EXPLAINED && asked.length > names.length);
    await print(stdout, isLong ? list(asked) : explanations(asked));
  }
  return EXIT.ok;
}

/** Searches the arguments as names, then joined as one text (so a text needs no quotes), then each as a text. */
function found(names: readonly string[]): readonly Explanation[] {
  if (names.every((name) => explain(name) !== undefined)) {
    return EXPLANATIONS.filter(({ name }) => names.includes(name));
  }
  const together = findExplanations(names.join(' '));
  if (together.length > 0) return together;
  const each = names.map((name) => {
    const entry = explain(name);
    return { name, entries: entry === undefined ? findExplanations(name) : [entry] };
  });
  const unknown = each.filter(({ entries }) => entries.length === 0);
  if (unknown.length > 0) {
    const problems = unknown.map(({ name }) => ({
      what: `there is no reason ${JSON.stringify(name)}, and no entry contains this text`,
      where: 'command line',
      remedy: didYouMean(name, EXPLAINED_NAMES, '`vfio-dmabuf-tracer reasons` lists all names'),
    }));
    throw problemsError('bad_usage', 'names are unknown', problems);
  }
  const wanted = new Set(each.flatMap(({ entries }) => entries));
  return EXPLANATIONS.filter((entry) => wanted.has(entry));
}

function list(asked: readonly Explanation[]): string {
  const width = Math.max(...asked.map(({ name }) => name.length));
  const lines = asked.map(({ name, topic, what }) => `${name.padEnd(width)}  ${topic.padEnd(9)}  ${what}\n`);
  return lines.join('');
}

function explanations(asked: readonly Explanation[]): string {
  const blocks = asked.map(({ name, topic, what, rules, remedy, private_remedy, printed, user_space }) =>
    [
      `${name} (${topic})`,
      `  ${what}`,
      ...(printed ? [] : ['  No probe of this version prints it.']),
      ...rules.map((rule) => {
        const errno = rule.errno === null ? '' : ` ${rule.errno}`;
        return `  at ${rule.stage}:${errno} ${rule.function} (${rule.file}, ${kernelsText(rule)}): ${rule.check}`;
      }),
      `  fix: ${remedy}`,
      ...(private_remedy === null ? [] : [`  fix if the buffer is private: ${private_remedy}`]),
      ...user_space.map((text) => `  user space shows: ${text}`),
      '',
    ].join('\n'),
  );
  return blocks.join('\n');
}
