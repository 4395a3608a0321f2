import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type ConditionFacts,
  explainUnmet,
  parseCondition,
  parseConditions,
} from '../../../src/bpftrace/compiler/condition.ts';
import { TracerError } from '../../../src/lib/errors.ts';
import { compareVersions } from '../../../src/lib/versions.ts';
import { throwsAt } from './throws-at.ts';

const facts: ConditionFacts = {
  moduleOf: (name) => ({ dma_buf_export: 'vmlinux', attach: 'vfio_pci_core' })[name],
  isUntraceable: (name) => name === 'hidden',
  hasModule: (name) => name === 'vfio_pci_core',
  bitsOf: (path) => (path === 'kvm.userspace_pid' ? 0 : undefined),
  dialect: 'mainline',
  isWritten: (map) => map === '@written',
  bpftrace: [0, 23, 2],
};

test('a condition is met, or the reason is returned', () => {
  const cases: [string, string | null][] = [
    ['dma_buf_export', null],
    ['fn:dma_buf_export, kvm.userspace_pid, dialect:mainline, bpftrace>=0.23', null],
    ['fn:none|attach', null],
    ['fn:none|fn:attach', null],
    ['none|kvm.userspace_pid', null],
    ['!none, !kvm.none, !dialect:core|none, !bpftrace>=0.24', null],
    ['dialect:core|mainline', null],
    ['bpftrace>=0', null],
    ['module:none|module:vfio_pci_core, !module:none', null],
    ['module:none', 'module none is not loaded'],
    ['!module:vfio_pci_core', 'module vfio_pci_core is loaded'],
    ['none', 'function none is in no loaded module'],
    ['hidden', 'function hidden exists, but the kernel does not allow tracing it'],
    ['none|nothing', 'none of the functions none, nothing is in a loaded module'],
    ['attach, kvm.none', 'neither the kernel nor a loaded module has kvm.none'],
    ['!attach', 'the kernel has attach'],
    ['dialect:private-v1|private-v2', 'the dialect of this kernel is mainline, not private-v1 or private-v2'],
    ['!dialect:mainline', 'the dialect of this kernel is mainline'],
    ['@written, @other|@written', null],
    ['@other', 'no probe that is attached writes @other'],
    ['bpftrace>=0.24', 'bpftrace is 0.23.2, at least 0.24 is needed'],
    ['bpftrace>=0.23.3', 'bpftrace is 0.23.2, at least 0.23.3 is needed'],
    ['!bpftrace>=0.23', 'bpftrace is 0.23.2, older than 0.23 is needed'],
  ];
  for (const [text, expected] of cases)
    assert.equal(explainUnmet(parseCondition(text, 'x'), facts), expected, text);
});

test('a named condition means all of its terms, and may use those above it', () => {
  const named = parseConditions(
    '// Why.\n\nexports: attach, dma_buf_export\nnew: has:exports, kvm.none\nold: !has:new',
  );
  const cases: [string, string | null][] = [
    ['has:exports', null],
    ['!has:exports', 'the kernel has all that "exports" needs'],
    ['has:new', 'neither the kernel nor a loaded module has kvm.none'],
    ['has:exports, !has:new, has:old', null],
    ['has:new|attach', null],
  ];
  for (const [text, expected] of cases)
    assert.equal(explainUnmet(parseCondition(text, 'x', named), facts), expected, text);
});

test('a wrong or unknown named condition is an error with file, line and fix', () => {
  const parse = (text: string) => () => parseConditions(`// Why.\n${text}`, 'c.txt');
  throwsAt(parse('a b'), 'c.txt:2', /"a b" does not define a condition/, /NAME: CONDITION/);
  throwsAt(parse('a: f\na: g'), 'c.txt:3', /"a" is defined twice/, /NAME: CONDITION/);
  throwsAt(parse('a: has:b\nb: f'), 'c.txt:2', /there is no condition "b"/, /conditions\.txt/);
  throwsAt(parse('a: b c'), 'c.txt:2', /the condition "b c" is not valid/, /has:NAME/);
  throwsAt(() => parseCondition('f, !@m', 'x:1'), 'x:1', /"!@m" negates a map/, /leave out the "!"/);
  throwsAt(parse('bound: @m\nfree: !has:bound'), 'c.txt:3', /"!has:bound" negates a map/, /leave out/);
  const named = parseConditions('handover: f');
  throwsAt(
    () => parseCondition('has:hand-over', 'x:1', named),
    'x:1',
    /no condition "hand-over"/,
    /mean handover\?/,
  );
});

test('without bpftrace, a condition on its version is not met', () => {
  const without = { ...facts, bpftrace: null };
  assert.equal(
    explainUnmet(parseCondition('bpftrace>=0.23', 'x'), without),
    'bpftrace is missing, at least 0.23 is needed',
  );
});

test('text that is not a condition is an error with its place', () => {
  for (const text of [
    '',
    'a b',
    'fn:',
    'dialect:klingon',
    'bpftrace>0.24',
    'a.b.c',
    'a,,b',
    '!',
    'fn:a.b',
    '!!a',
  ]) {
    assert.throws(
      () => parseCondition(text, 'probes/x.bt:3'),
      (error) => error instanceof TracerError && error.where === 'probes/x.bt:3',
      text,
    );
  }
});

test('parsing returns terms or throws a TracerError', () => {
  const token = fc.constantFrom(
    'fn:',
    'a',
    'b.c',
    '|',
    ',',
    '!',
    ' ',
    'dialect:',
    'core',
    'bpftrace>=',
    '0.24',
    '.',
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 8 }), (tokens) => {
      try {
        assert.ok(parseCondition(tokens.join(''), 'x').length > 0);
      } catch (error) {
        assert.ok(error instanceof TracerError);
      }
    }),
  );
});

test('a negated condition is met exactly if the condition is not', () => {
  const atom = fc.constantFrom(
    'attach',
    'none',
    'kvm.userspace_pid',
    'kvm.none',
    'dialect:core',
    'bpftrace>=0.24',
  );
  fc.assert(
    fc.property(atom, (text) => {
      const isMet = explainUnmet(parseCondition(text, 'x'), facts) === null;
      assert.equal(explainUnmet(parseCondition(`!${text}`, 'x'), facts) === null, !isMet);
    }),
  );
});

test('versions are compared as numbers', () => {
  assert.ok(compareVersions([0, 9], [0, 23]) < 0);
  assert.ok(compareVersions([0, 23, 0], [0, 23]) === 0);
  assert.ok(compareVersions([1], [0, 99, 9]) > 0);
});
