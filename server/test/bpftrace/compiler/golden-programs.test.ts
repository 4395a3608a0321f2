import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type Composed, compose, type ProbeFacts } from '../../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../../src/bpftrace/compiler/fragment.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';
import { KERNEL_FACTS } from '../../fixtures/golden/kernel-facts.ts';

/** `UPDATE_GOLDEN=1` writes the files from the probes. Review the difference before you commit it. */
const isUpdate = process.env.UPDATE_GOLDEN === '1';

async function composed(facts: ProbeFacts): Promise<Composed> {
  return compose(facts, await loadFragments(probesDirectory()));
}

/** The code of each fragment in the program, and of the parts before and after them. Comments may change freely. */
function sections({ program, parts }: Composed): Map<string, string> {
  const lines = program.split('\n');
  const isCode = (line: string): boolean => !/^ *\/\//.test(line);
  const between = (from: number, to: number): string =>
    lines.slice(from, to).filter(isCode).join('\n').trim();
  const found = new Map(parts.map(({ probe, firstLine, lastLine }) => [probe, between(firstLine, lastLine)]));
  found.set('begin', between(0, (parts[0]?.firstLine ?? 1) - 1));
  found.set('heartbeat', between(parts.at(-1)?.lastLine ?? 0, lines.length));
  return found;
}

for (const [name, facts] of Object.entries(KERNEL_FACTS)) {
  test(`the program for ${name} matches its golden file`, async () => {
    const mainline = sections(await composed(KERNEL_FACTS.mainline));
    const here = await composed(facts);
    const missing = here.probes
      .filter(({ reason }) => reason !== null)
      .map(({ probe, reason }) => `// no ${probe}: ${reason}`);
    const texts = [...sections(here)].map(([section, text]) =>
      name !== 'mainline' && mainline.get(section) === text
        ? `// ${section}: as in mainline`
        : `// ${section}\n${text}\n`,
    );
    const text = [`// dialect ${here.dialect}`, ...new Set(missing), '', ...texts, ''].join('\n');
    const file = new URL(`../../fixtures/golden/programs/${name}.bt`, import.meta.url);
    if (isUpdate) await writeFile(file, text);
    assert.equal(text, await readFile(file, 'utf8'));
  });
}
