import { join } from 'node:path';
import { fold } from '../server/src/cli/text.ts';
import { TOPICS, type Topic } from '../server/src/contract/reasons.ts';
import { PRIVATE_BUFFER_REMEDY } from '../server/src/incidents/rules/private-offered.ts';
import { EXPLANATIONS, type Explanation } from '../server/src/reference/catalogue.ts';
import { kernelsText } from '../server/src/reference/kernels-text.ts';

export const REASONS_PAGE = join(import.meta.dirname, '../docs/reasons.md');

const INTRODUCTION = `# Reasons

\`npm run docs\` writes this page from \`server/src/reference/\`; a test checks that it is up to date.

This page explains the \`reason\` of a rejected call, the \`kind\` of a policy violation and the \`cause\`
of a revocation. Each entry has what happened, the kernel's rules, and the fix. \`vfio-dmabuf-tracer
reasons NAME\` prints an entry, and \`/api/v1/reasons/NAME\` serves it. Instead of a name, \`reasons\`
also accepts an errno, a stage, a line from a log of user space, a function or a setting, and finds
the entries that explain it. Alerts link to an entry by its heading: \`docs/reasons.md#NAME\`.

The kernel rejects a call if what it requires is not true. The rule exists only on kernels with the
feature in the column "kernels", such as a function. The mainline versions are only a hint:
distributions backport the export to older kernels, and some mix the forms. The rules of \`private-v1\` and \`private-v2\` come from posted patches that no mainline
kernel has, and their files are those of the patches. The errno "-" means any errno, or that the
kernel does not reject the call.

**For a private buffer every reason has the same fix**, if an importer other than KVM was rejected.
${wrapped(PRIVATE_BUFFER_REMEDY)}
`;

const TITLES: Record<Topic, string> = {
  reason: 'Why the kernel rejected',
  violation: 'Policy violations',
  cause: 'Why memory was revoked or restored',
  incident: 'Incidents',
};

/** Wraps a paragraph at 100 columns, as all docs are. */
function wrapped(text: string): string {
  return fold(text, 100).join('\n');
}

function paragraph({ name, topic, what, rules, remedy, printed, user_space }: Explanation): string {
  const rows = rules.map(({ stage, errno, function: fn, file, check, ...span }) =>
    [
      stage,
      errno === null ? '-' : `\`${errno}\``,
      `\`${fn}\`, \`${file}\``,
      kernelsText(span),
      check.replaceAll('|', '\\|'),
    ].join(' | '),
  );
  return [
    `### ${name}`,
    wrapped(`${what}${printed ? '' : ' No probe of this version reports it.'}`),
    [
      `| at | errno | function | kernels | ${topic === 'cause' ? 'happens when' : 'the kernel requires'} |`,
      '| --- | --- | --- | --- | --- |',
      ...rows.map((row) => `| ${row} |`),
    ].join('\n'),
    wrapped(`Fix: ${remedy}`),
    ...(user_space.length === 0
      ? []
      : [wrapped(`User space shows: ${user_space.map((text) => `\`${text}\``).join(', ')}`)]),
  ].join('\n\n');
}

/** The text of docs/reasons.md. */
export function reasonsPage(): string {
  // docs/incidents.md has the incidents.
  const parts = TOPICS.filter((topic) => topic !== 'incident').flatMap((topic) => [
    `## ${TITLES[topic]}`,
    ...EXPLANATIONS.filter((entry) => entry.topic === topic).map(paragraph),
  ]);
  return `${[INTRODUCTION.trimEnd(), ...parts].join('\n\n')}\n`;
}
