import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Wanted } from '../../src/bpftrace/compiler/compose.ts';
import type { HostFacts } from '../../src/bpftrace/facts.ts';
import { formatFacts, parseFacts } from '../../src/bpftrace/facts-file.ts';
import { TracerError } from '../../src/lib/errors.ts';
import { VERSION } from '../../src/lib/package-version.ts';

const WANTED: Wanted = { functions: ['dma_buf_get', 'hidden', 'none'], members: ['kvm.arch', 'kvm.none'] };

const FACTS: HostFacts = {
  kernel: '7.3.4',
  uid: 0,
  btf: true,
  lockdown: 'none',
  tracefs: true,
  capabilities: { effective: 5n, ambient: null },
  functions: { dma_buf_get: 'vmlinux' },
  untraceable: ['hidden'],
  members: { 'kvm.arch': 640 },
  pageBytes: 16_384,
  modules: ['kvm', 'kvm_amd'],
  bpftrace: { path: '/usr/bin/bpftrace', version: '0.23.2', parts: [0, 23, 2] },
  bpftraceVersion: [0, 23, 2],
};

const WRITTEN: unknown = JSON.parse(formatFacts(FACTS, WANTED));

test('what is read is what was written, and nothing else of the host is written', () => {
  const { kernel, functions, untraceable, members, pageBytes, modules, bpftraceVersion } = FACTS;
  assert.deepEqual(parseFacts(formatFacts(FACTS, WANTED), 'f', WANTED), {
    ...{ kernel, functions, untraceable, members, pageBytes, modules, bpftraceVersion },
  });
  assert.deepEqual(WRITTEN, {
    format: 'vfio-dmabuf-tracer facts',
    version: 1,
    tracer: VERSION,
    kernel: '7.3.4',
    bpftrace: '0.23.2',
    page_bytes: 16_384,
    modules: ['kvm', 'kvm_amd'],
    functions: { dma_buf_get: 'vmlinux', hidden: null, none: null },
    untraceable: ['hidden'],
    members: { 'kvm.arch': 640, 'kvm.none': null },
  });
  const without = parseFacts(formatFacts({ ...FACTS, bpftraceVersion: null }, WANTED), 'f', WANTED);
  assert.equal(without.bpftraceVersion, null);
});

test('names that this version does not need are ignored', () => {
  const fewer: Wanted = { functions: ['none'], members: [] };
  const { functions, members } = parseFacts(formatFacts(FACTS, WANTED), 'f', fewer);
  assert.deepEqual([functions, members], [{}, {}]);
});

for (const [name, change, message, where, remedy] of [
  ['a file of another program', { format: 'x' }, /not a file of facts/, 'f', /--facts-out FILE/],
  ['a newer format', { version: 2, tracer: '9.0.0' }, /has version 2, .* reads 1/, 'f', /"9\.0\.0"/],
  ['a missing field', { kernel: undefined }, /kernel/, 'f: ', /--facts-out FILE/],
  ['a wrong type', { page_bytes: '4096' }, /integer/, 'f: /page_bytes', /--facts-out FILE/],
  ['a negative offset', { members: { 'kvm.arch': -8 } }, /./, 'f: /members/kvm.arch', /--facts-out FILE/],
  // A module is written into the program, so it must not be able to add code.
  ['code for a module', { functions: { dma_buf_get: 'x { }' } }, /./, 'f: /functions/dma_buf_get', /--facts/],
  ['a wrong version of bpftrace', { bpftrace: '0.23-rc' }, /./, 'f: /bpftrace', /--facts-out FILE/],
] as const) {
  test(`${name} is an error with its place and a fix`, () => {
    const text = JSON.stringify({ ...(WRITTEN as object), ...change });
    assert.throws(
      () => parseFacts(text, 'f', WANTED),
      (error) => {
        assert.ok(error instanceof TracerError);
        assert.equal(error.code, 'bad_facts');
        assert.match(error.message, message);
        assert.equal(error.where, where);
        assert.match(error.remedy ?? '', remedy);
        return true;
      },
    );
  });
}

for (const text of ['', '{', '[]', 'null', '7', '"x"']) {
  test(`the text ${JSON.stringify(text)} is an error`, () => {
    assert.throws(() => parseFacts(text, 'f', WANTED), { code: 'bad_facts', where: 'f' });
  });
}

test('a file that lacks a name which this version needs is an error with both versions', () => {
  const more: Wanted = {
    functions: [...WANTED.functions, 'new'],
    members: [...WANTED.members, 'new.member'],
  };
  const text = JSON.stringify({ ...(WRITTEN as object), tracer: '0.0.9' });
  assert.throws(() => parseFacts(text, 'f', more), {
    message: /does not record whether the host has new and 1 more: version 0\.0\.9 of the program wrote it/,
    where: 'f',
    remedy: new RegExp(`with version ${VERSION}`),
  });
});
