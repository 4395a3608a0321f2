import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { buildBtf } from '../host/btf-builder.ts';

export interface FakeHost {
  procRoot: string;
  sysRoot: string;
  /** With the os-release of Debian 13. */
  etcRoot: string;
  /** Adds a module: its type information and its traceable functions. A member is written as `struct.member`. */
  loadModule: (name: string, functions: readonly string[], members?: readonly string[]) => Promise<void>;
  /** Adds a process. For a thread, `tgid` is the number of its process. */
  addProcess: (pid: number, startTicks: number, command?: string[], tgid?: number) => Promise<void>;
}

/** Creates a /proc, a /sys and an /etc of a host with kernel 7.3, dma_buf_export and vfio_pci_core. */
export async function fakeHost(t: TestContext): Promise<FakeHost> {
  const root = await temporaryFolder(t);
  const procRoot = join(root, 'proc');
  const sysRoot = join(root, 'sys');
  const etcRoot = join(root, 'etc');
  const kernel = buildBtf([
    { kind: 'func', name: 'dma_buf_export' },
    { kind: 'int', name: 'int' },
    { kind: 'struct', name: 'kvm', members: [{ name: 'userspace_pid', type: 2 }] },
  ]);
  await mkdir(etcRoot, { recursive: true });
  await writeFile(
    join(etcRoot, 'os-release'),
    'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
  );
  await mkdir(join(procRoot, 'sys/kernel'), { recursive: true });
  await mkdir(join(sysRoot, 'kernel/btf'), { recursive: true });
  await mkdir(join(sysRoot, 'kernel/tracing'), { recursive: true });
  await mkdir(join(sysRoot, 'devices/system/cpu'), { recursive: true });
  await writeFile(join(sysRoot, 'devices/system/cpu/online'), '0\n');
  await writeFile(join(procRoot, 'uptime'), '100.00 0\n');
  await writeFile(join(procRoot, 'sys/kernel/osrelease'), '7.3.4\n');
  await writeFile(join(sysRoot, 'kernel/btf/vmlinux'), kernel.bytes);
  const traceable = join(sysRoot, 'kernel/tracing/available_filter_functions');
  await writeFile(traceable, 'dma_buf_export\n');
  const loadModule: FakeHost['loadModule'] = async (name, functions, members = []) => {
    const { bytes } = buildBtf(
      [
        ...functions.map((func) => ({ kind: 'func' as const, name: func })),
        ...members.map((path) => {
          const [struct = '', member = ''] = path.split('.');
          return { kind: 'struct' as const, name: struct, members: [{ name: member, type: 2 }] };
        }),
      ],
      kernel,
    );
    const lines = functions.map((func) => `${func} [${name}]\n`);
    await writeFile(traceable, lines.join(''), { flag: 'a' });
    // A rename, so that no reader gets half of the file: the kernel adds it at once too.
    const unfinished = join(root, `${name}.btf`);
    await writeFile(unfinished, bytes);
    await rename(unfinished, join(sysRoot, 'kernel/btf', name));
  };
  await loadModule('vfio_pci_core', ['vfio_pci_dma_buf_attach', 'vfio_pci_core_feature_dma_buf']);
  const addProcess: FakeHost['addProcess'] = async (pid, startTicks, command = [], tgid = pid) => {
    const folder = join(procRoot, String(pid));
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'stat'), `${pid} (qemu) S ${'0 '.repeat(18)}${startTicks} 0\n`);
    await writeFile(join(folder, 'cmdline'), command.map((argument) => `${argument}\0`).join(''));
    await writeFile(join(folder, 'status'), `Name:\tqemu\nTgid:\t${tgid}\nNgid:\t0\nPid:\t${pid}\n`);
  };
  return { procRoot, sysRoot, etcRoot, loadModule, addProcess };
}
