import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';

const { probes, snippets } = await loadFragments(probesDirectory());

/** The functions at whose entry this snippet marks the task. */
function markedBy(snippet: string): string[] {
  return probes.flatMap(({ text }) =>
    [...text.matchAll(/^kprobe:\{\{fn:(\w+)\}\}[^\n]*\n(?:(?!^\}).*\n)*?^\{\{use:([\w-]+)\}\}/gm)]
      .filter(([, , used]) => used === snippet)
      .map(([, name = '']) => name),
  );
}

/** The functions in the conditions of the lines that read a mark. */
function readersOf(text: string, mark: string): string[][] {
  return [...text.matchAll(new RegExp(`if \\(${mark}\\[.*//\\? fn:(\\S+)$`, 'gm'))].map(([, names = '']) =>
    names.split('|'),
  );
}

test('the layers below report what they counted to every call of an importer that marks the task', () => {
  const marked = [...new Set(markedBy('call-begin'))];
  assert.ok(marked.length > 5, marked.join());
  for (const name of ['mark-counted', 'mark-acquired', 'vmap-end']) {
    const [names = [], ...others] = readersOf(snippets.get(name)?.text ?? '', '@call_start');
    assert.deepEqual(others, []);
    assert.deepEqual([...names].sort(), marked.sort(), `probes/snippets/${name}.bt`);
  }
});

test('the exporter reports what it counted to the calls of the dma-buf core that mark the task', () => {
  const marked = markedBy('core-begin');
  const [names = []] = readersOf(snippets.get('mark-counted')?.text ?? '', '@core_start');
  // A kernel with one of these functions has the others of dma-buf.c too.
  assert.ok(names.length > 0 && names.every((name) => marked.includes(name)), names.join());
});
