import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBootClock } from '../../../src/collector/host/boot-clock.ts';
import { identifyVm, readProcess } from '../../../src/collector/host/identity.ts';
import { pciAddress, readPci } from '../../../src/collector/host/pci.ts';
import { temporaryFolder } from '../../fixtures/fake-bpftrace/fake-bpftrace.ts';

const UUID = '8E9C7A04-0C9B-4B3B-9C9E-0123456789ab';

test('name and UUID of a VM are read from the command line of its VMM', () => {
  const cases: [string[], ReturnType<typeof identifyVm>][] = [
    [
      ['/usr/bin/qemu-system-x86_64', '-name', 'guest=web,,1,debug-threads=on', '-uuid', UUID],
      { vmm: 'qemu', name: 'web,1', uuid: UUID.toLowerCase() },
    ],
    [['qemu-kvm', '-name', 'plain'], { vmm: 'qemu', name: 'plain', uuid: null }],
    [['kvm', '--name', 'process=x,guest=db', '-uuid', 'not-one'], { vmm: 'qemu', name: 'db', uuid: null }],
    [['qemu-system-aarch64', '-name', 'debug-threads=on'], { vmm: 'qemu', name: null, uuid: null }],
    [['qemu-system-x86_64', '-name', 'a\nb'], { vmm: 'qemu', name: 'a b', uuid: null }],
    [
      ['/opt/cloud-hypervisor', '--api-socket', '/run/x'],
      { vmm: 'cloud-hypervisor', name: null, uuid: null },
    ],
    [['/bin/sh', '-name', 'x'], { vmm: null, name: null, uuid: null }],
    [[''], { vmm: null, name: null, uuid: null }],
  ];
  for (const [argv, expected] of cases) assert.deepEqual(identifyVm(argv), expected, argv.join(' '));
});

test('of the command line of a process only name and UUID are handed on', async (t) => {
  const procRoot = await temporaryFolder(t);
  await mkdir(join(procRoot, '5'));
  await writeFile(join(procRoot, '5', 'stat'), `5 (qemu) S ${'0 '.repeat(18)}77 0\n`);
  const command = ['qemu-system-x86_64', '-name', 'web', '-object', 'secret,id=s,data=hunter2', ''].join(
    '\0',
  );
  await writeFile(join(procRoot, '5', 'cmdline'), command);
  const facts = await readProcess(procRoot, 5);
  assert.deepEqual(facts, { pid: 5, start_ticks: 77, comm: 'qemu', vmm: 'qemu', name: 'web', uuid: null });
  assert.equal(await readProcess(procRoot, 6), null);
});

test('a packed number is a PCI address, and sysfs tells of the device', async (t) => {
  assert.equal(pciAddress(0x4108), '0000:41:01.0');
  assert.equal(pciAddress(0x0123_45ff), '0123:45:1f.7');
  const sysRoot = await temporaryFolder(t);
  const folder = join(sysRoot, 'bus/pci/devices/0000:41:00.0');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'vendor'), '0x10de\n');
  await writeFile(join(folder, 'device'), '0x2330\n');
  await writeFile(join(folder, 'numa_node'), '-1\n');
  await symlink('../../../drivers/vfio-pci', join(folder, 'driver'));
  assert.deepEqual(await readPci(sysRoot, '0000:41:00.0'), {
    device: '0000:41:00.0',
    vendor_id: '10de',
    device_id: '2330',
    driver: 'vfio-pci',
    iommu_group: '',
    numa_node: -1,
  });
  assert.equal(await readPci(sysRoot, '0000:42:00.0'), null);
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
