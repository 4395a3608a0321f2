import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { countRecursionMisses, findHolders, parseFdinfo, parseStat } from '../../src/host/proc.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

const NUMBERS = '1 7 7 0 -1 4194560 9 0 0 0 1 2 0 0 20 0 1 0 {ticks} 1000 20';

test('stat is parsed for any name of a process', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 15 }), fc.nat(), (comm, ticks) => {
      const text = `7 (${comm}) S ${NUMBERS.replace('{ticks}', String(ticks))}\n`;
      assert.deepEqual(parseStat(text), { comm, state: 'S', parent: 1, startTicks: ticks });
    }),
  );
  for (const text of ['', '7', '7 (a', '7 (a) S', '7 (a) S 1 2 3']) assert.equal(parseStat(text), null);
});

test('inode, bytes and exporter are parsed from the fdinfo of a dma-buf', () => {
  const text =
    'pos:\t0\nflags:\t02000002\nmnt_id:\t12\nino:\t42\nsize:\t65536\ncount:\t1\nexp_name:\tvfio_pci_core\n';
  assert.deepEqual(parseFdinfo(text), { inode: 42, bytes: 65536, exporter: 'vfio_pci_core' });
  assert.equal(parseFdinfo('pos:\t0\nino:\t42\n'), null);
});

test('holders are found by link and fdinfo only, and grouped by buffer', async (t) => {
  const procRoot = await temporaryFolder(t);
  const fd = async (pid: number, number: number, target: string, fdinfo: string): Promise<void> => {
    const folder = join(procRoot, String(pid));
    await mkdir(join(folder, 'fd'), { recursive: true });
    await mkdir(join(folder, 'fdinfo'), { recursive: true });
    await writeFile(join(folder, 'stat'), `${pid} (vmm) S ${NUMBERS.replace('{ticks}', '5')}\n`);
    await symlink(target, join(folder, 'fd', String(number)));
    await writeFile(join(folder, 'fdinfo', String(number)), fdinfo);
  };
  const vfio = 'ino:\t42\nsize:\t4096\nexp_name:\tvfio_pci_core\n';
  await fd(10, 3, '/dmabuf:', vfio);
  await fd(10, 4, '/dmabuf:name', vfio);
  await fd(10, 5, '/dev/null', vfio);
  await fd(11, 3, '/dmabuf:', vfio);
  await fd(12, 3, '/dmabuf:', 'ino:\t43\nsize:\t1\nexp_name:\tudmabuf\n');
  const path = 'pos:\t0\nvfio-device-syspath: /sys/devices/pci0000:e0/0000:e0:01.1/0000:e1:00.0\n';
  await fd(13, 3, 'anon_inode:[vfio-device]', path);
  await fd(13, 4, '/dev/vfio/devices/vfio0', path);
  await fd(14, 3, '/dev/vfio/devices/vfio0', path);
  await fd(14, 4, 'anon_inode:[vfio-device]', 'pos:\t0\n');
  await fd(14, 5, '/dev/vfio/12', path);
  await mkdir(join(procRoot, 'sys'));

  const { signal } = new AbortController();
  const held = await findHolders({ procRoot, exporter: 'vfio_pci_core', signal });
  assert.deepEqual(held.errors, []);
  assert.deepEqual(held.devices, [
    { device: 0xe100, pid: 13 },
    { device: 0xe100, pid: 14 },
  ]);
  assert.deepEqual(
    [...held.buffers.values()],
    [
      {
        inode: 42,
        bytes: 4096,
        holders: [
          { pid: 10, comm: 'vmm', fds: 2 },
          { pid: 11, comm: 'vmm', fds: 1 },
        ],
      },
    ],
  );
  const bounded = await findHolders({ procRoot, exporter: 'vfio_pci_core', signal, maxFds: 2 });
  assert.deepEqual(bounded.errors, ['more than 2 open files']);
});

test('skipped runs are summed over the BPF programs of a process, each program once', async (t) => {
  const procRoot = await temporaryFolder(t);
  const folder = join(procRoot, '9', 'fdinfo');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, '3'), 'prog_type:\t26\nprog_id:\t1\nrecursion_misses:\t4\n');
  await writeFile(join(folder, '4'), 'prog_type:\t26\nprog_id:\t1\nrecursion_misses:\t4\n');
  await writeFile(join(folder, '5'), 'prog_type:\t26\nprog_id:\t2\nrecursion_misses:\t1\n');
  await writeFile(join(folder, '6'), 'pos:\t0\n');
  assert.equal(await countRecursionMisses(procRoot, 9), 5);
  assert.equal(await countRecursionMisses(procRoot, 8), null);
});
