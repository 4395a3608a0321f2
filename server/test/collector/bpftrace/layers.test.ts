import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadFragments } from '../../../src/collector/bpftrace/fragment.ts';
import { probesDirectory } from '../../../src/support/probes-directory.ts';

const { probes, snippets } = await loadFragments(probesDirectory());

/** The functions at whose entry a layer marks the task. */
const markedBy = (snippet: string): string[] =>
  probes.flatMap(({ text }) =>
    [...text.matchAll(/^kprobe:\{\{fn:(\w+)\}\}[^\n]*\n(?:(?!^\}).*\n)*?^\{\{use:([\w-]+)\}\}/gm)]
      .filter(([, , used]) => used === snippet)
      .map(([, name = '']) => name),
  );

/** The functions on which the lines of a text that read a mark depend. */
const readersOf = (text: string, mark: string): string[][] =>
  [...text.matchAll(new RegExp(`if \\(${mark}\\[.*//\\? fn:(\\S+)$`, 'gm'))].map(([, names = '']) =>
    names.split('|'),
  );

test('every importer’s own call that marks the task is told what the layers below it counted', () => {
  const marked = [...new Set(markedBy('call-begin'))];
  assert.ok(marked.length > 5, marked.join());
  for (const name of ['mark-counted', 'mark-acquired', 'vmap-end']) {
    const [names = [], ...others] = readersOf(snippets.get(name)?.text ?? '', '@call_start');
    assert.deepEqual(others, []);
    assert.deepEqual([...names].sort(), marked.sort(), `probes/snippets/${name}.bt`);
  }
});

test('every call of the dma-buf core that marks the task is told what the exporter counted', () => {
  const marked = markedBy('core-begin');
  const [names = []] = readersOf(snippets.get('mark-counted')?.text ?? '', '@core_start');
  // Where a kernel has one of these it has the others of dma-buf.c too.
  assert.ok(names.length > 0 && names.every((name) => marked.includes(name)), names.join());
});
