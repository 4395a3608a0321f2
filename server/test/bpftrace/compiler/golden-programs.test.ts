import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import {
  type Composed,
  compose,
  composeOneshot,
  type ProbeFacts,
} from '../../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../../src/bpftrace/compiler/fragment.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';
import { KERNEL_FACTS } from '../../fixtures/golden/kernel-facts.ts';

/** `UPDATE_GOLDEN=1` writes the files from the probes. Review the difference before you commit it. */
const isUpdate = process.env.UPDATE_GOLDEN === '1';

const BPFTRACE = { oldest: [0, 23, 2], newest: [0, 27, 1] };

/** The programs of a host, without comments: each fragment, the parts before and after them, and the snapshot. */
interface Programs extends Composed {
  sections: ReadonlyMap<string, string>;
}

async function programsOf(kernel: ProbeFacts, bpftraceVersion: readonly number[]): Promise<Programs> {
  const facts = { ...kernel, bpftraceVersion };
  const fragments = await loadFragments(probesDirectory());
  const here = compose(facts, fragments);
  const lines = here.program.split('\n');
  const isCode = (line: string): boolean => !/^ *\/\//.test(line);
  const code = (text: readonly string[]): string => text.filter(isCode).join('\n').trim();
  const sections = new Map(
    here.parts.map(({ probe, firstLine, lastLine }) => [probe, code(lines.slice(firstLine, lastLine))]),
  );
  sections.set('begin', code(lines.slice(0, (here.parts[0]?.firstLine ?? 1) - 1)));
  sections.set('heartbeat', code(lines.slice(here.parts.at(-1)?.lastLine ?? 0)));
  const snapshot = composeOneshot('snapshot', facts, fragments);
  sections.set(
    'snapshot',
    'program' in snapshot ? code(snapshot.program.split('\n')) : `no ${snapshot.reason}`,
  );
  return { ...here, sections };
}

/** The text of a golden file: sections that are the same in another program only name it. */
function goldenText(here: Programs, other: { programs: Programs; name: string } | null): string {
  const missing = here.probes
    .filter(({ reason }) => reason !== null)
    .map(({ probe, reason }) => `// no ${probe}: ${reason}`);
  const texts = [...here.sections].map(([section, text]) =>
    other?.programs.sections.get(section) === text
      ? `// ${section}: as in ${other.name}`
      : `// ${section}\n${text}\n`,
  );
  return [`// dialect ${here.dialect}`, ...new Set(missing), '', ...texts, ''].join('\n');
}

async function assertGolden(name: string, text: string): Promise<void> {
  const file = new URL(`../../fixtures/golden/programs/${name}.bt`, import.meta.url);
  if (isUpdate) await writeFile(file, text);
  assert.equal(text, await readFile(file, 'utf8'));
}

for (const [name, facts] of Object.entries(KERNEL_FACTS)) {
  test(`the programs for ${name} match their golden files`, async () => {
    const oldest = await programsOf(facts, BPFTRACE.oldest);
    const mainline = await programsOf(KERNEL_FACTS.mainline, BPFTRACE.oldest);
    const other = name === 'mainline' ? null : { programs: mainline, name: 'mainline' };
    await assertGolden(name, goldenText(oldest, other));
    const newest = await programsOf(facts, BPFTRACE.newest);
    await assertGolden(`${name}-bpftrace-0.27`, goldenText(newest, { programs: oldest, name }));
  });
}

test('each golden file belongs to a kernel', async () => {
  const files = await readdir(new URL('../../fixtures/golden/programs/', import.meta.url));
  const expected = Object.keys(KERNEL_FACTS).flatMap((name) => [`${name}.bt`, `${name}-bpftrace-0.27.bt`]);
  assert.deepEqual(files.sort(), expected.sort());
});
