import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  classifyStart,
  failedFunction,
  failedLine,
  shortMessage,
} from '../../../src/bpftrace/process/classify.ts';
import { StderrTail } from '../../../src/bpftrace/process/stderr-tail.ts';

const FOLDER = new URL('../../fixtures/fake-bpftrace/stderr/', import.meta.url);

/** The reason and the failed line of each file; bpftrace 0.23.2 and 0.27.1 wrote them. */
const SAMPLES: Record<string, [string, number | null]> = {
  'bad-config-0.23': ['compile_error', 1],
  'bad-config-0.27': ['compile_error', 1],
  'function-missing-0.23': ['function_missing', null],
  'function-missing-0.27': ['function_missing', 1],
  'lockdown-0.23': ['lockdown', null],
  'lockdown-0.27': ['lockdown', null],
  'no-btf-0.23': ['no_btf', 1],
  'no-tracefs-0.23': ['no_symbols', 9],
  'no-tracefs-0.27': ['no_symbols', null],
  'not-root-0.23': ['not_root', null],
  'not-root-0.27': ['not_root', null],
  'syntax-0.23': ['compile_error', 1],
  'syntax-0.27': ['compile_error', 1],
  'unknown-type-0.23': ['compile_error', 1],
  'unknown-type-0.27': ['compile_error', 1],
};

function tailOf(...chunks: (string | Buffer)[]): StderrTail {
  const tail = new StderrTail();
  for (const chunk of chunks) tail.push(Buffer.from(chunk));
  return tail;
}

test('each recorded start failure of bpftrace has its reason', () => {
  const files = readdirSync(FOLDER).map((name) => name.replace(/\.txt$/, ''));
  assert.deepEqual(files.sort(), Object.keys(SAMPLES).sort());
  for (const [name, [reason, line]] of Object.entries(SAMPLES)) {
    const text = tailOf(readFileSync(new URL(`${name}.txt`, FOLDER))).text();
    assert.equal(classifyStart(text), reason, name);
    assert.equal(failedLine(text), line, name);
    assert.doesNotMatch(shortMessage(text), /RLIMIT_MEMLOCK/, name);
  }
  assert.equal(classifyStart(''), 'start_failed');
});

test('the function that failed to load or attach is the longest name that matches', () => {
  const names = ['dma_buf_attach', 'vfio_pci_dma_buf_attach', 'other'];
  const text = 'ERROR: Error loading BPF program for fentry_vfio_pci_core_vfio_pci_dma_buf_attach_1.\nother';
  assert.equal(failedFunction(text, names), 'vfio_pci_dma_buf_attach');
  assert.equal(
    failedFunction('ERROR: Error attaching probe: fexit:vmlinux:dma_buf_attach', names),
    'dma_buf_attach',
  );
  assert.equal(failedFunction('WARNING: other', names), null);
});

test('the beginning and the end of a long stderr are kept', () => {
  const tail = tailOf('ERROR: first\n', 'x'.repeat(100_000), '\n', Buffer.from('last wörd'));
  const text = tail.text();
  assert.ok(text.length < 9000);
  assert.match(text, /^ERROR: first\n/);
  assert.match(text, /\[\.\.\.\]/);
  assert.match(text, /last wörd$/);
});

test('kernel addresses are replaced, and other numbers are kept', () => {
  const text = tailOf(
    'R1=0xffff888012345678 ffffffffa0001234 pid 4242 hash 0123456789abcdef deadbeef',
  ).text();
  assert.equal(text, 'R1=[address] [address] pid 4242 hash 0123456789abcdef deadbeef');
});
