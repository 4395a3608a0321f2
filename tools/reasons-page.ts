import { join } from 'node:path';
import { EXPLANATIONS, type Explanation, TOPICS, type Topic } from '../server/src/reference/catalogue.ts';
import { PRIVATE_BUFFER_REMEDY } from '../server/src/reference/entry.ts';
import { kernelsInWords } from '../server/src/reference/words.ts';

export const REASONS_PAGE = join(import.meta.dirname, '../docs/reasons.md');

const INTRODUCTION = `# Reasons

Written by \`npm run docs\` from \`server/src/reference/\`; a test proves that it is up to date.

What the \`reason\` of a rejected call, the \`kind\` of a policy violation and the \`cause\` of a revocation mean: what
happened, the rule of the kernel behind it, and what to do. The same is printed by \`vfio-dmabuf-tracer reasons NAME\` and by
\`/api/v1/reasons/NAME\`; in place of a name \`reasons\` also takes a line from a log of user space, a function or a setting, and finds what
explains it. The heading of each is its anchor, \`docs/reasons.md#NAME\`, for the annotations of alerts.

"Kernels" says what a kernel has to have for the rule, such as a function. The versions of mainline are a hint only: distributions carry the
export on older kernels, and some mix the forms. The rules of \`private-v1\` and \`private-v2\` are those of posted patches that no mainline
kernel has; their files are the patches'. An errno of "-" is any, or that the call is not a rejection.

**A private buffer has one fix for all of them**, if an importer other than KVM was rejected. ${PRIVATE_BUFFER_REMEDY}
`;

const TITLES: Record<Topic, string> = {
  reason: 'Why the kernel rejected',
  violation: 'Policy violations',
  cause: 'Why memory was revoked or restored',
  incident: 'Incidents',
  symptom: 'What user space shows and the tracer does not count',
};

const paragraph = ({ name, what, rules, remedy, printed, user_space }: Explanation): string => {
  const rows = rules.map(({ stage, errno, function: fn, file, check, ...span }) =>
    [
      stage,
      errno === null ? '-' : `\`${errno}\``,
      `\`${fn}\`, \`${file}\``,
      kernelsInWords(span),
      check.replaceAll('|', '\\|'),
    ].join(' | '),
  );
  return [
    `### ${name}`,
    `${what}${printed ? '' : ' No probe of this version prints it.'}`,
    [
      '| at | errno | function | kernels | rule |',
      '| --- | --- | --- | --- | --- |',
      ...rows.map((row) => `| ${row} |`),
    ].join('\n'),
    `Fix: ${remedy}`,
    ...(user_space.length === 0
      ? []
      : [`User space shows: ${user_space.map((text) => `\`${text}\``).join(', ')}`]),
  ].join('\n\n');
};

/** docs/reasons.md as it has to be. */
export const reasonsPage = (): string => {
  // docs/incidents.md has the incidents.
  const parts = TOPICS.filter((topic) => topic !== 'incident').flatMap((topic) => [
    `## ${TITLES[topic]}`,
    ...EXPLANATIONS.filter((entry) => entry.topic === topic).map(paragraph),
  ]);
  return `${[INTRODUCTION.trimEnd(), ...parts].join('\n\n')}\n`;
};
