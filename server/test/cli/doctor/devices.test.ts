import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksOf, goodHost } from './good-host.ts';

test('a variant driver that can export is recognized by the symbols of the kernel, or else by its name', async (t) => {
  const host = await goodHost(t);
  const drivers = ['nvgrace_gpu_vfio_pci', 'some_new_vfio_pci'];
  await host.bind('0000:42:00.0', 'nvgrace_gpu_vfio_pci');
  assert.equal(
    (await checksOf(host.options)).devices?.state,
    'ok',
    'the name decides if no symbols can be read',
  );
  await host.bind('0000:43:00.0', 'some_new_vfio_pci');
  const symbols = drivers.map(
    (name) => `0000000000000000 t ${name.slice(0, 4)}_get_dmabuf_phys\t[${name}]\n`,
  );
  await host.write('proc', 'kallsyms', `0000000000000000 T dma_buf_export\n${symbols.join('')}`);
  const { devices } = await checksOf(host.options);
  assert.equal(devices?.state, 'ok', devices?.message);
  assert.match(devices?.message ?? '', /0000:42:00\.0 \(nvgrace_gpu_vfio_pci\), 0000:43:00\.0/);
});

test('the remedy for a device of a variant driver never proposes vfio-pci', async (t) => {
  const names = ['mlx5', 'hisi_acc', 'pds', 'virtio', 'qat', 'xe', 'nvgrace_gpu'];
  for (const symbols of [null, '0000000000000000 T dma_buf_export\n']) {
    const host = await goodHost(t);
    if (symbols !== null) await host.write('proc', 'kallsyms', symbols);
    for (const [index, name] of names.entries()) await host.bind(`0000:5${index}:00.0`, `${name}_vfio_pci`);
    const { devices } = await checksOf(host.options);
    assert.equal(devices?.state, 'warning');
    assert.doesNotMatch(devices?.remedy ?? '', /driverctl|vfio-pci/);
    assert.equal(
      /nvgrace/.test(devices?.message ?? ''),
      symbols !== null,
      'the symbols decide if they can be read',
    );
  }
});
