import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compose, type ProbeFacts, wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';

const fragments = await loadFragments(probesDirectory());
const wanted = wantedBy(fragments);
const facts: ProbeFacts = {
  functions: Object.fromEntries(wanted.functions.map((name) => [name, 'vmlinux'])),
  untraceable: [],
  members: Object.fromEntries(wanted.members.map((path) => [path, 0])),
  pageBytes: 4096,
  modules: [],
  bpftraceVersion: [0, 23, 2],
};

/** The probes that mark the task at the entry of a call. */
function markedBy(snippet: string): string[] {
  return fragments.probes.filter(({ text }) => text.includes(`{{use:${snippet}}}`)).map(({ name }) => name);
}

/** The program of a host on which bpftrace has rejected these probes. */
function programWithout(names: readonly string[]): string {
  return compose(facts, fragments, new Map(names.map((name) => [name, 'rejected']))).program;
}

const LAYERS = [
  { begin: 'call-begin', marks: ['@call_counted', '@call_acquired'], call: '@importer_call', least: 6 },
  { begin: 'core-begin', marks: ['@core_counted'], call: '@core_call', least: 4 },
];

for (const { begin, marks, call, least } of LAYERS) {
  const writes = marks.map((mark) => `if (${call}[$task].0) { ${mark}[$task] = 1; }`);

  test(`the layers below report what they counted to each call that marks its task with ${call}`, () => {
    const markers = markedBy(begin);
    assert.ok(markers.length >= least, markers.join());
    for (const marker of markers) {
      const program = programWithout(markers.filter((name) => name !== marker));
      for (const write of writes) assert.ok(program.includes(write), `${marker}: ${write}`);
    }
  });

  test(`without a call that marks its task with ${call}, no line depends on the mark`, () => {
    const program = programWithout(markedBy(begin));
    assert.ok(program.includes('vfio_pci_dma_buf_attach'));
    assert.doesNotMatch(program, new RegExp(`if \\(${call}\\[`));
    for (const mark of marks) assert.ok(!program.includes(mark), mark);
  });
}
