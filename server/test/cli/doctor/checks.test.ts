import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { wantedBy } from '../../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../../src/bpftrace/compiler/fragment.ts';
import type { Check } from '../../../src/cli/doctor/diagnosis.ts';
import { type DiagnoseOptions, diagnose } from '../../../src/cli/doctor.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';
import { capabilities, checksOf, goodHost, type Host } from './good-host.ts';

test('on a good host each check has the state ok, and docs/doctor.md describes the checks', async (t) => {
  const { options } = await goodHost(t);
  const { diagnosis } = await diagnose(options);
  assert.equal(diagnosis.traceable, true);
  assert.deepEqual(
    diagnosis.checks.map(({ name, state }) => [name, state]),
    [
      'node',
      'kernel',
      'btf',
      'lockdown',
      'tracefs',
      'kprobes',
      'bpftrace',
      'privilege',
      'vfio_pci_core',
      'dma-buf export',
      'probes',
      'snapshots',
      'devices',
      'pids',
      'names',
      'clock',
      'memory',
      'setpriv',
      'taskset',
    ].map((name) => [name, 'ok']),
  );
  const page = await readFile(new URL('../../../../docs/doctor.md', import.meta.url), 'utf8');
  const described = [...page.matchAll(/^\| `([\w .-]+)` /gm)].map(([, name]) => name);
  assert.deepEqual(
    described,
    diagnosis.checks.map(({ name }) => name),
    'docs/doctor.md describes each check',
  );
  const checks = await checksOf(options);
  assert.equal(checks.kernel?.message, '7.3.4');
  assert.match(checks.bpftrace?.message ?? '', /^0\.23\.2 /);
  assert.equal(checks.devices?.message, '0000:41:00.0 (vfio-pci)');
  assert.match(
    checks.probes?.message ?? '',
    /^\d+ of \d+ probes fit this kernel\. Not attached here: bind \(bind\): function kvm_vfio_dmabuf_bind/,
  );
  assert.match(checks['dma-buf export']?.message ?? '', /dialect mainline/);
});

type Change = (host: Host) => Promise<Partial<DiagnoseOptions> | undefined>;

function without(root: 'procRoot' | 'sysRoot', path: string): Change {
  return async (host) => {
    await rm(join(host[root], path), { recursive: true });
    return undefined;
  };
}
function written(root: 'proc' | 'sys', path: string, text: string): Change {
  return async (host) => {
    await host.write(root, path, text);
    return undefined;
  };
}

const CASES: readonly [
  what: string,
  name: string,
  state: Check['state'],
  Change,
  message: RegExp,
  remedy: RegExp,
][] = [
  [
    'an old Node',
    'node',
    'missing',
    async () => ({ node: '20.18.3' }),
    /20\.18\.3; 20\.19/,
    /apt-get install nodejs/,
  ],
  [
    'a kernel without type information',
    'btf',
    'missing',
    without('sysRoot', 'kernel/btf/vmlinux'),
    /vmlinux/,
    /CONFIG_DEBUG_INFO_BTF=y/,
  ],
  [
    'a module without type information',
    'btf',
    'missing',
    without('sysRoot', 'kernel/btf/vfio_pci_core'),
    /vfio_pci_core has not/,
    /BTF_MODULES/,
  ],
  [
    'lockdown',
    'lockdown',
    'missing',
    written('sys', 'kernel/security/lockdown', 'none integrity [confidentiality]\n'),
    /confidentiality/,
    /lockdown=integrity/,
  ],
  [
    'no tracefs',
    'tracefs',
    'missing',
    without('sysRoot', 'kernel/tracing'),
    /not mounted/,
    /`mount -t tracefs tracefs/,
  ],
  [
    'a kernel without kprobes',
    'kprobes',
    'missing',
    without('sysRoot', 'bus/event_source'),
    /no kprobes/,
    /CONFIG_KPROBES/,
  ],
  [
    'disabled kprobes',
    'kprobes',
    'missing',
    written('sys', 'kernel/debug/kprobes/enabled', '0\n'),
    /disabled/,
    /echo 1 >/,
  ],
  [
    'disabled ftrace',
    'kprobes',
    'missing',
    written('proc', 'sys/kernel/ftrace_enabled', '0\n'),
    /ftrace_enabled is 0/,
    /sysctl/,
  ],
  [
    'no bpftrace',
    'bpftrace',
    'missing',
    async () => ({ bpftrace: 'no-such-program' }),
    /no executable/,
    /apt-get install bpftrace/,
  ],
  ['another user', 'privilege', 'missing', async () => ({ uid: 1000 }), /runs as user 1000/, /sudo/],
  [
    'root without capabilities',
    'privilege',
    'missing',
    written('proc', 'self/status', capabilities(19n)),
    /without CAP_BPF/,
    /--privileged/,
  ],
  [
    'root that may not inspect other processes',
    'privilege',
    'warning',
    written('proc', 'self/status', capabilities(38n, 39n)),
    /CAP_SYS_PTRACE/,
    /--privileged/,
  ],
  [
    'a device of a driver that cannot export',
    'devices',
    'warning',
    async (host) => void (await host.bind('0000:42:00.0', 'mlx5_vfio_pci')),
    /2 bound.*cannot export.*: 0000:42:00\.0 \(mlx5_vfio_pci\)/,
    /^leave them bound: .*`driver_unsupported`/,
  ],
  ['no device', 'devices', 'warning', without('sysRoot', 'bus/pci'), /no PCI device is bound/, /driverctl/],
  [
    'a pid namespace',
    'pids',
    'warning',
    async (host) => void (await host.setNamespace('pid:[4026532200]')),
    /another pid namespace/,
    /--pid=host/,
  ],
  [
    'no access to the files of the host',
    'names',
    'warning',
    without('procRoot', '1/root'),
    /pods and containers stay unknown/,
    /CAP_SYS_PTRACE/,
  ],
  [
    'a time namespace',
    'clock',
    'warning',
    written('proc', 'self/timens_offsets', 'monotonic 0 0\nboottime           86400         0\n'),
    /time namespace/,
    /outside/,
  ],
  [
    'a wall clock that was never set',
    'clock',
    'warning',
    async () => ({ wallMs: 1000 }),
    /1970-01-01T00:00:01Z/,
    /timedatectl/,
  ],
  [
    'little memory',
    'memory',
    'warning',
    written('proc', 'meminfo', 'MemAvailable:     102400 kB\n'),
    /^100 MiB/,
    /more memory/,
  ],
  [
    'no setpriv',
    'setpriv',
    'missing',
    async () => ({ searchPath: '' }),
    /server without privileges/,
    /apt-get install util-linux/,
  ],
  [
    'no taskset',
    'taskset',
    'warning',
    async () => ({ searchPath: '' }),
    /ENOENT.*handover/,
    /apt-get install util-linux/,
  ],
];

for (const [what, name, state, change, message, remedy] of CASES) {
  test(`${what} is reported as ${state} with a remedy`, async (t) => {
    const host = await goodHost(t);
    const { [name]: check } = await checksOf({ ...host.options, ...(await change(host)) });
    assert.ok(check !== undefined);
    assert.equal(check.state, state, check.message);
    assert.match(check.message, message);
    assert.match(check.remedy ?? '', remedy);
  });
}

test('a kernel older than 6.19 and a module without dma-buf export are reported by different checks', async (t) => {
  const host = await goodHost(t);
  await rm(join(host.sysRoot, 'kernel/btf/vfio_pci_core'));
  await writeFile(join(host.sysRoot, 'kernel/tracing/available_filter_functions'), 'dma_buf_export\n');
  await host.loadModule('vfio_pci_core', ['vfio_pci_core_ioctl']);
  const built = await checksOf(host.options);
  assert.deepEqual(
    [built.kernel?.state, built.vfio_pci_core?.state, built['dma-buf export']?.state],
    ['ok', 'ok', 'missing'],
  );
  assert.match(built['dma-buf export']?.remedy ?? '', /CONFIG_VFIO_PCI_DMABUF=y/);
  await host.write('proc', 'sys/kernel/osrelease', '6.12.48+deb13-amd64\n');
  const old = await checksOf(host.options);
  assert.equal(old.kernel?.state, 'missing');
  assert.match(old.kernel?.remedy ?? '', /trixie-backports/);
  await rm(join(host.sysRoot, 'module'), { recursive: true });
  assert.match((await checksOf(host.options)).vfio_pci_core?.remedy ?? '', /`modprobe vfio-pci`/);
});

test('a function that the kernel does not allow to be traced is a warning that names the probe', async (t) => {
  const host = await goodHost(t);
  const list = join(host.sysRoot, 'kernel/tracing/available_filter_functions');
  await writeFile(
    list,
    (await readFile(list, 'utf8')).replaceAll('vfio_pci_dma_buf_unmap [vfio_pci_core]\n', ''),
  );
  const { probes } = await checksOf(host.options);
  assert.equal(probes?.state, 'warning');
  assert.match(probes?.message ?? '', /unmap \(unmap\): function vfio_pci_dma_buf_unmap exists, but/);
});

test('a kernel that cannot list its buffers is a warning', async (t) => {
  const host = await goodHost(t);
  const { functions, members } = wantedBy(await loadFragments(probesDirectory()));
  await host.loadModule(
    'vfio_pci_core',
    functions,
    members.filter((name) => !name.startsWith('bpf_iter__dmabuf')),
  );
  const { snapshots } = await checksOf(host.options);
  assert.equal(snapshots?.state, 'warning');
  assert.match(snapshots?.message ?? '', /bpf_iter__dmabuf/);
});

test('the fix for an old kernel names the distribution only if it may have a newer one', async (t) => {
  const host = await goodHost(t);
  await host.write('proc', 'sys/kernel/osrelease', '6.1.0\n');
  await rm(join(host.sysRoot, 'kernel/btf/vfio_pci_core'));
  const fixOn = async (osRelease: string) => {
    await writeFile(join(host.etcRoot, 'os-release'), osRelease);
    return (await checksOf(host.options)).kernel?.remedy ?? '';
  };
  assert.match(
    await fixOn('ID=debian\nVERSION_ID=12\nPRETTY_NAME="Debian 12"'),
    /kernel\.org; Debian 12 has none;/,
  );
  assert.match(await fixOn('ID=debian\nVERSION_ID=13'), /trixie-backports/);
  assert.match(await fixOn('ID=fedora\nVERSION_ID=44\nNAME=Fedora'), /or from Fedora 44 if it has one/);
});
