import { loadDocs } from '../http/docs.ts';
import { type Problem, problemsError } from '../lib/problems.ts';
import { didYouMean } from '../lib/suggest.ts';
import { EXPLAINED_NAMES, EXPLANATIONS, type Explanation, explain } from '../reference/catalogue.ts';
import { kernelsText } from '../reference/kernels-text.ts';
import { errnosIn, findExplanations } from '../reference/search.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { print, printJson } from './output.ts';
import { fold } from './text.ts';

/** If more entries match, they are listed and not explained. */
const MAX_EXPLAINED = 6;

/** Explains names and log texts, from the same entries as the API and docs/reasons.md. */
export async function reasons({ names, json, stdout }: CommandContext): Promise<ExitCode> {
  const asked = names.length === 0 ? EXPLANATIONS : found(names);
  if (json) await printJson(stdout, JSON.stringify(asked, null, 2));
  else {
    const isLong = names.length === 0 || (asked.length > MAX_EXPLAINED && asked.length > names.length);
    const columns = stdout.isTTY ? stdout.columns : undefined;
    await print(stdout, isLong ? list(asked) : explanations(asked, columns));
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
    const problems = unknown.map(({ name }) => problemOf(name));
    throw problemsError('bad_usage', 'names are unknown', problems);
  }
  const wanted = new Set(each.flatMap(({ entries }) => entries));
  return EXPLANATIONS.filter((entry) => wanted.has(entry));
}

function problemOf(name: string): Problem {
  const where = 'command line';
  if (loadDocs().has(`runbooks/${name}`)) {
    const page = `docs/runbooks/${name}.md`;
    return {
      what: `${name} is an alert`,
      where,
      remedy: `read its runbook: ${page}, or /${page} of a daemon`,
    };
  }
  const [errno] = errnosIn(name);
  const all = '`vfio-dmabuf-tracer reasons` lists all names';
  const otherwise =
    errno === undefined ? all : `\`vfio-dmabuf-tracer reasons ${errno}\` lists the entries with this errno`;
  return {
    what: `there is no reason ${JSON.stringify(name)}, and no entry explains this text`,
    where,
    remedy: didYouMean(name, EXPLAINED_NAMES, otherwise),
  };
}

function list(asked: readonly Explanation[]): string {
  const width = Math.max(...asked.map(({ name }) => name.length));
  const lines = asked.map(({ name, topic, what }) => `${name.padEnd(width)}  ${topic.padEnd(9)}  ${what}\n`);
  return lines.join('');
}

function explanations(asked: readonly Explanation[], columns: number | undefined): string {
  const lines = (indent: number, text: string): string[] =>
    fold(text, columns && columns - indent).map((line) => ' '.repeat(indent) + line);
  const blocks = asked.map((entry) =>
    [
      `${entry.name} (${entry.topic})`,
      ...lines(2, entry.what),
      ...(entry.printed ? [] : lines(2, 'No probe of this version prints it.')),
      ...entry.rules.flatMap((rule) => [
        ...lines(2, `at ${[rule.stage, rule.errno ?? []].flat().join(', ')}: ${rule.function}`),
        ...lines(4, `${entry.topic === 'cause' ? 'when' : 'requires'}: ${rule.check}`),
        ...lines(4, `in: ${rule.file}, ${kernelsText(rule)}`),
      ]),
      ...lines(2, `fix: ${entry.remedy}`),
      ...(entry.private_remedy === null
        ? []
        : lines(2, `fix if the buffer is private: ${entry.private_remedy}`)),
      ...(entry.topic === 'incident' ? lines(2, `runbook: ${entry.docs}`) : []),
      ...entry.user_space.flatMap((text) => lines(2, `user space shows: ${text}`)),
      '',
    ].join('\n'),
  );
  return blocks.join('\n');
}
