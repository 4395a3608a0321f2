import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBootClock } from '../../src/host/boot-clock.ts';
import { readProcess } from '../../src/host/identity.ts';
import { packPciAddress, pciAddress, readDriver, readPci } from '../../src/host/pci.ts';
import { PciIds } from '../../src/host/pci-ids.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

const IDS = `# a comment
10de  NVIDIA Corporation
\t2330  GH100 [H100 SXM5 80GB]
\t\t10de 16c1  a board
1af4  Red Hat, Inc.
\t1110  Inter-VM shared memory

C 02  Network controller
\t02  another
C 03  Display controller
\t00  VGA compatible controller
\t02  3D controller
\t\t01  a programming interface
`;

test('only the name and the UUID of a command line are returned', async (t) => {
  const procRoot = await temporaryFolder(t);
  await mkdir(join(procRoot, '5'));
  await writeFile(join(procRoot, '5', 'stat'), `5 (qemu) S ${'0 '.repeat(18)}77 0\n`);
  const command = ['qemu-system-x86_64', '-name', 'web', '-object', 'secret,id=s,data=hunter2', ''].join(
    '\0',
  );
  await writeFile(join(procRoot, '5', 'cmdline'), command);
  const facts = await readProcess(procRoot, 5);
  const known = { pid: 5, start_ticks: 77, comm: 'qemu', vmm: 'qemu', name: 'web', uuid: null };
  assert.deepEqual(facts, { ...known, name_source: 'command_line' });
  assert.equal(await readProcess(procRoot, 6), null);
});

test('a process that renamed itself is recognized by its executable', async (t) => {
  const procRoot = await temporaryFolder(t);
  await mkdir(join(procRoot, '5'));
  await writeFile(join(procRoot, '5', 'stat'), `5 (microvm@gpu-vm) S ${'0 '.repeat(18)}77 0\n`);
  const argv = ['microvm@gpu-vm', '-name', 'gpu-vm', '-object', 'secret,id=s,data=hunter2'];
  await writeFile(join(procRoot, '5', 'cmdline'), `${argv.join('\0')}\0`);
  await symlink('/usr/bin/qemu-system-x86_64 (deleted)', join(procRoot, '5', 'exe'));
  const facts = await readProcess(procRoot, 5);
  assert.deepEqual([facts?.vmm, facts?.name, facts?.name_source], ['qemu', 'gpu-vm', 'command_line']);
  assert.doesNotMatch(JSON.stringify(facts), /hunter2/);
});

test('a thread is read with the number of its process, and a process without one', async (t) => {
  const procRoot = await temporaryFolder(t);
  await mkdir(join(procRoot, '7'));
  await writeFile(join(procRoot, '7', 'stat'), `7 (vmm) S ${'0 '.repeat(18)}78 0\n`);
  await writeFile(join(procRoot, '7', 'cmdline'), 'cloud-hypervisor\0');
  const tgid = async (status: string): Promise<unknown> => {
    await writeFile(join(procRoot, '7', 'status'), status);
    const facts = await readProcess(procRoot, 7);
    assert.equal(facts?.vmm, 'cloud-hypervisor');
    return facts?.tgid;
  };
  assert.equal(await tgid('Name:\tvmm\nState:\tS (sleeping)\nTgid:\t5\nNgid:\t0\nPid:\t7\n'), 5);
  for (const status of ['Tgid:\t7\n', 'Name:\tTgid:\t9\n', '']) assert.equal(await tgid(status), undefined);
  // What /proc contains for a task that was released between two reads.
  await writeFile(join(procRoot, '7', 'status'), 'Name:\tvmm\nTgid:\t0\nPid:\t0\n');
  assert.equal(await readProcess(procRoot, 7), null);
});

test('the control group names a VM whose command line has no name, and does not name other processes', async (t) => {
  const procRoot = await temporaryFolder(t);
  await mkdir(join(procRoot, '5'));
  await writeFile(join(procRoot, '5', 'stat'), `5 (vmm) S ${'0 '.repeat(18)}77 0\n`);
  await writeFile(join(procRoot, '5', 'cgroup'), '0::/machine.slice/machine-ch\\x2d1\\x2ddb.scope\n');
  const named = async (command: string): Promise<unknown[]> => {
    await writeFile(join(procRoot, '5', 'cmdline'), `${command}\0`);
    const facts = await readProcess(procRoot, 5);
    return [facts?.name, facts?.name_source, facts?.scope];
  };
  assert.deepEqual(await named('cloud-hypervisor'), ['db', 'cgroup', 'machine-ch-1-db']);
  assert.deepEqual(await named('virtiofsd'), [null, undefined, 'machine-ch-1-db']);
});

test('a packed number becomes a PCI address, and the device is read from sysfs', async (t) => {
  assert.equal(pciAddress(0x4108), '0000:41:01.0');
  assert.equal(pciAddress(0x0123_45ff), '0123:45:1f.7');
  for (const packed of [0x4108, 0x0123_45ff, 0x1_0000_4108])
    assert.equal(packPciAddress(pciAddress(packed)), packed);
  for (const name of ['iommu', 'kvm', '', '0000:41:00', '0000:41:20.0'])
    assert.equal(packPciAddress(name), null);
  const sysRoot = await temporaryFolder(t);
  const folder = join(sysRoot, 'bus/pci/devices/0000:41:00.0');
  for (const name of ['infiniband/mlx5_0', 'net/eth0', 'drm/card1', 'drm/renderD128', '../0000:42:00.0']) {
    await mkdir(join(folder, name), { recursive: true });
  }
  await writeFile(join(folder, 'vendor'), '0x10de\n');
  await writeFile(join(folder, 'device'), '0x2330\n');
  await writeFile(join(folder, 'class'), '0x030200\n');
  await writeFile(join(folder, 'numa_node'), '-1\n');
  await symlink('../../../drivers/vfio-pci', join(folder, 'driver'));
  const facts = {
    device: '0000:41:00.0',
    vendor_id: '10de',
    device_id: '2330',
    driver: 'vfio-pci',
    iommu_group: '',
    numa_node: -1,
    class: '030200',
    interfaces: ['mlx5_0', 'card1', 'eth0'],
  };
  assert.deepEqual(await readPci(sysRoot, '0000:41:00.0', new PciIds([join(sysRoot, 'none')])), facts);
  const list = join(sysRoot, 'pci.ids');
  await writeFile(list, IDS);
  assert.deepEqual(await readPci(sysRoot, '0000:41:00.0', new PciIds([join(sysRoot, 'none'), list])), {
    ...facts,
    vendor_name: 'NVIDIA Corporation',
    device_name: 'GH100 [H100 SXM5 80GB]',
    class_name: '3D controller',
  });
  assert.equal(await readPci(sysRoot, '0000:43:00.0', new PciIds([])), null);
  const drivers = ['0000:41:00.0', '0000:42:00.0', '0000:43:00.0'].map((device) =>
    readDriver(sysRoot, device),
  );
  assert.deepEqual(await Promise.all(drivers), ['vfio-pci', '', null]);
});

test('device names are found for the right vendor, also in concurrent lookups', async (t) => {
  const list = join(await temporaryFolder(t), 'pci.ids');
  await writeFile(list, IDS);
  const ids = new PciIds([list]);
  const ask = (vendor: string, device: string, code: string) => ids.find({ vendor, device, class: code });
  assert.deepEqual(
    await Promise.all([
      ask('1af4', '1110', '050000'),
      ask('1af4', '2330', '039900'),
      ask('ffff', '2330', ''),
      ask('10de', '2330', '030200'),
      ask('C 03', '02', 'zz'),
    ]),
    [
      { vendor_name: 'Red Hat, Inc.', device_name: 'Inter-VM shared memory' },
      { vendor_name: 'Red Hat, Inc.', class_name: 'Display controller' },
      {},
      {
        vendor_name: 'NVIDIA Corporation',
        device_name: 'GH100 [H100 SXM5 80GB]',
        class_name: '3D controller',
      },
      {},
    ],
  );
  assert.deepEqual(await ask('10de', '2331', ''), { vendor_name: 'NVIDIA Corporation' });
});

test('the boot clock is finer than /proc/uptime, follows a suspend and never goes back', async (t) => {
  const procRoot = await temporaryFolder(t);
  const path = join(procRoot, 'uptime');
  let mono = 1_000_000;
  await writeFile(path, '5.00 9.00\n');
  const clock = createBootClock({
    procRoot,
    monotonicUs: () => {
      mono += 1000;
      return mono;
    },
  });
  const first = clock();
  assert.ok(first >= 5_000_000 && first < 5_100_000, String(first));
  await writeFile(path, '65.00 9.00\n');
  mono += 1_500_000;
  const later = clock();
  assert.ok(later >= 64_900_000 && later < 65_100_000, String(later));
  await writeFile(path, '1.00 9.00\n');
  mono += 1_500_000;
  assert.ok(clock() > later);
});
