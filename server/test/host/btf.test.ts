import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BtfSearch } from '../../src/host/btf.ts';
import { TracerError } from '../../src/lib/errors.ts';
import { buildBtf } from './btf-builder.ts';

const kernel = buildBtf([
  { kind: 'int', name: 'int' },
  { kind: 'func', name: 'dma_buf_export' },
  { kind: 'struct', name: '', members: [{ name: 'deep', type: 1, at: 32 }] },
  { kind: 'const', type: 3 },
  {
    kind: 'union',
    name: '',
    members: [
      { name: '', type: 4 },
      { name: 'shallow', type: 1 },
    ],
  },
  {
    kind: 'struct',
    name: 'task_struct',
    members: [
      { name: 'pid', type: 1, at: 64 },
      { name: '', type: 5, at: 128 },
    ],
  },
  { kind: 'enum', name: 'color', values: ['dma_buf_detach', 'pid'] },
]);
const module = buildBtf(
  [
    { kind: 'func', name: 'vfio_attach' },
    { kind: 'func', name: 'pid' },
    {
      kind: 'struct',
      name: 'vfio',
      members: [
        { name: 'kvm', type: 1, at: 832 },
        { name: '', type: 6, at: 1024 },
      ],
    },
    {
      kind: 'struct',
      name: 'flags',
      bitfields: true,
      members: [
        { name: 'first', type: 1, at: 768, width: 1 },
        { name: 'second', type: 1, at: 769, width: 2 },
        { name: 'whole', type: 1, at: 776 },
        { name: '', type: 5, at: 800 },
      ],
    },
    { kind: 'struct', name: 'large', members: [{ name: 'far', type: 1, at: 0x0123_4560 }] },
  ],
  kernel,
);

test('functions and members are found, also in anonymous inner structs and unions', () => {
  const search = new BtfSearch({
    functions: ['dma_buf_export', 'dma_buf_detach', 'task_struct', 'vfio_attach'],
    members: ['task_struct.pid', 'task_struct.deep', 'task_struct.shallow', 'task_struct.kvm', 'int.pid'],
  });
  const found = search.searchKernel(kernel.bytes);
  assert.deepEqual(found.functions, ['dma_buf_export']);
  assert.deepEqual(Object.fromEntries(found.members), {
    'task_struct.pid': 64,
    'task_struct.deep': 160,
    'task_struct.shallow': 128,
  });
});

test('a module continues the strings and the type ids of the kernel', () => {
  const search = new BtfSearch({
    functions: ['vfio_attach', 'pid', 'dma_buf_export'],
    members: ['vfio.kvm', 'vfio.deep', 'vfio.none'],
  });
  search.searchKernel(kernel.bytes);
  const found = search.searchModule(module.bytes);
  assert.deepEqual(found.functions, ['vfio_attach', 'pid']);
  // Type 6 of the kernel contains anonymous types itself.
  assert.deepEqual(Object.fromEntries(found.members), { 'vfio.kvm': 832, 'vfio.deep': 1184 });
});

test('a bitfield is found at its bit, next to members without width, and an offset may use all 32 bits', () => {
  const search = new BtfSearch({
    functions: [],
    members: ['flags.first', 'flags.second', 'flags.whole', 'flags.shallow', 'large.far'],
  });
  search.searchKernel(kernel.bytes);
  assert.deepEqual(Object.fromEntries(search.searchModule(module.bytes).members), {
    'flags.first': 768,
    'flags.second': 769,
    'flags.whole': 776,
    'flags.shallow': 800,
    'large.far': 0x0123_4560,
  });
});

test('BTF may start at any offset of its buffer', () => {
  const shifted = Buffer.concat([Buffer.from('x'), kernel.bytes]).subarray(1);
  const found = new BtfSearch({ functions: ['dma_buf_export'], members: [] }).searchKernel(shifted);
  assert.deepEqual(found.functions, ['dma_buf_export']);
});

test('bytes that are not BTF are a host_untraceable error', () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('\x7fELF'.padEnd(64, '\0')), Buffer.alloc(64)]) {
    assert.throws(
      () => new BtfSearch({ functions: [], members: [] }).searchKernel(bytes),
      (error) => error instanceof TracerError && error.code === 'host_untraceable',
    );
  }
});
