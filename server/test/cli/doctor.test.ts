import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Value } from 'typebox/value';
import { wantsColor } from '../../src/cli/color.ts';
import { type Check, Diagnosis } from '../../src/cli/doctor/diagnosis.ts';
import { report } from '../../src/cli/doctor/report.ts';
import { type DiagnoseOptions, diagnose } from '../../src/cli/doctor.ts';
import { styled } from '../../src/cli/output.ts';
import { wantedBy } from '../../src/collector/bpftrace/compose.ts';
import { loadFragments } from '../../src/collector/bpftrace/fragment.ts';
import { probesDirectory } from '../../src/support/probes-directory.ts';
import { type FakeHost, fakeHost } from '../collector/fake-host.ts';
import { fakeBpftrace } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

interface Host extends FakeHost {
  options: DiagnoseOptions;
  write(root: 'proc' | 'sys', path: string, text: string): Promise<void>;
  bind(device: string, driver: string): Promise<void>;
  setNamespace(link: string): Promise<void>;
}

const PRIVATE_ONLY = /^(kvm_vfio_dmabuf|vfio_dma_buf_get_data|kvm_gmem)/;

/** A host on which all is well. */
async function goodHost(t: TestContext): Promise<Host> {
  const host = await fakeHost(t);
  const { functions, members } = wantedBy(await loadFragments(probesDirectory()));
  await host.loadModule(
    'vfio_pci_core',
    functions.filter((name) => !PRIVATE_ONLY.test(name)),
    members.filter((name) => !name.startsWith('vfio_dma_buf_data.')),
  );
  const roots = { proc: host.procRoot, sys: host.sysRoot };
  const write: Host['write'] = async (root, path, text) => {
    const file = join(roots[root], path);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, text);
  };
  const bind: Host['bind'] = async (device, driver) => {
    const folder = join(host.sysRoot, 'bus/pci/devices', device);
    await mkdir(folder, { recursive: true });
    await symlink(join(host.sysRoot, 'bus/pci/drivers', driver), join(folder, 'driver'));
  };
  const setNamespace: Host['setNamespace'] = async (link) => {
    const path = join(host.procRoot, 'self/ns/pid');
    await mkdir(join(path, '..'), { recursive: true });
    await rm(path, { force: true });
    await symlink(link, path);
  };
  await write('sys', 'module/vfio_pci_core/refcnt', '1\n');
  await write('sys', 'bus/event_source/devices/kprobe/type', '6\n');
  await write('proc', 'self/status', 'Name:\tnode\nCapEff:\t000001ffffffffff\n');
  await write(
    'proc',
    'self/timens_offsets',
    'monotonic           0         0\nboottime            0         0\n',
  );
  await write('proc', 'meminfo', 'MemTotal: 4000000 kB\nMemAvailable:    2097152 kB\n');
  await setNamespace('pid:[4026531836]');
  await bind('0000:41:00.0', 'vfio-pci');
  const options: DiagnoseOptions = {
    bpftrace: await fakeBpftrace(t, 'normal'),
    searchPath: process.env.PATH ?? '',
    procRoot: host.procRoot,
    sysRoot: host.sysRoot,
    uid: 0,
    node: '20.19.0',
    wallMs: Date.UTC(2026, 10, 1),
  };
  return { ...host, options, write, bind, setNamespace };
}

async function checksOf(options: DiagnoseOptions): Promise<Record<string, Check>> {
  const diagnosis = await diagnose(options);
  assert.ok(Value.Check(Diagnosis, diagnosis));
  const missing = diagnosis.checks.some(({ state }) => state === 'missing');
  assert.equal(diagnosis.traceable, !missing);
  for (const { name, state, remedy } of diagnosis.checks) {
    assert.equal(remedy === null, state === 'found', `${name} has a remedy where it needs one`);
  }
  return Object.fromEntries(diagnosis.checks.map((check) => [check.name, check]));
}

test('a host on which all is well is told so, row by row', async (t) => {
  const { options } = await goodHost(t);
  const diagnosis = await diagnose(options);
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
      'clock',
      'memory',
      'setpriv',
    ].map((name) => [name, 'found']),
  );
  const page = await readFile(new URL('../../../docs/doctor.md', import.meta.url), 'utf8');
  const described = [...page.matchAll(/^\| `([\w .-]+)` /gm)].map(([, name]) => name);
  assert.deepEqual(
    described,
    diagnosis.checks.map(({ name }) => name),
    'docs/doctor.md tells of each',
  );
  const checks = await checksOf(options);
  assert.equal(checks.kernel?.message, '7.3.4');
  assert.match(checks.bpftrace?.message ?? '', /^0\.23\.2 /);
  assert.equal(checks.devices?.message, '0000:41:00.0 (vfio-pci)');
  assert.match(checks.probes?.message ?? '', /Not seen here: bind \(bind\): function kvm_vfio_dmabuf_bind/);
  assert.match(checks['dma-buf export']?.message ?? '', /dialect mainline/);
});

type Change = (host: Host) => Promise<Partial<DiagnoseOptions> | undefined>;

const without =
  (root: 'procRoot' | 'sysRoot', path: string): Change =>
  async (host) => {
    await rm(join(host[root], path), { recursive: true });
    return undefined;
  };
const written =
  (root: 'proc' | 'sys', path: string, text: string): Change =>
  async (host) => {
    await host.write(root, path, text);
    return undefined;
  };
const capabilities = (...bits: bigint[]): string =>
  `CapEff:\t${bits
    .reduce((all, bit) => all | (1n << bit), 0n)
    .toString(16)
    .padStart(16, '0')}\n`;

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
    /vfio_pci_core does not/,
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
    'kprobes switched off',
    'kprobes',
    'missing',
    written('sys', 'kernel/debug/kprobes/enabled', '0\n'),
    /switched off/,
    /echo 1 >/,
  ],
  [
    'ftrace switched off',
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
    'root that may not look into others',
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
    /0000:42:00\.0 vfio-pci/,
  ],
  ['no device', 'devices', 'warning', without('sysRoot', 'bus/pci'), /no PCI device is bound/, /driverctl/],
  [
    'a pid namespace',
    'pids',
    'warning',
    async (host) => void (await host.setNamespace('pid:[4026532200]')),
    /namespace of its own/,
    /--pid=host/,
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
    'a clock that was never set',
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
    'warning',
    async () => ({ searchPath: '' }),
    /pdeathsig/,
    /apt-get install util-linux/,
  ],
];

for (const [what, name, state, change, message, remedy] of CASES) {
  test(`${what} is told as ${state}, with what mends it`, async (t) => {
    const host = await goodHost(t);
    const { [name]: check } = await checksOf({ ...host.options, ...(await change(host)) });
    assert.ok(check !== undefined);
    assert.equal(check.state, state, check.message);
    assert.match(check.message, message);
    assert.match(check.remedy ?? '', remedy);
  });
}

test('a bpftrace that is too old is told by its version', async (t) => {
  const { options, write, procRoot } = await goodHost(t);
  await write('proc', 'old', '#!/bin/sh\necho bpftrace v0.22.1\n');
  const path = join(procRoot, 'old');
  await chmod(path, 0o755);
  const { bpftrace } = await checksOf({ ...options, bpftrace: path });
  assert.equal(bpftrace?.state, 'missing');
  assert.match(bpftrace?.message ?? '', /is bpftrace 0\.22\.1; 0\.23\.0 up to/);
});

test('a kernel from before 6.19 without export, and one whose module was built without, are told apart', async (t) => {
  const host = await goodHost(t);
  await rm(join(host.sysRoot, 'kernel/btf/vfio_pci_core'));
  await writeFile(join(host.sysRoot, 'kernel/tracing/available_filter_functions'), 'dma_buf_export\n');
  await host.loadModule('vfio_pci_core', ['vfio_pci_core_ioctl']);
  const built = await checksOf(host.options);
  assert.deepEqual(
    [built.kernel?.state, built.vfio_pci_core?.state, built['dma-buf export']?.state],
    ['found', 'found', 'missing'],
  );
  assert.match(built['dma-buf export']?.remedy ?? '', /CONFIG_VFIO_PCI_DMABUF=y/);
  await host.write('proc', 'sys/kernel/osrelease', '6.12.48+deb13-amd64\n');
  const old = await checksOf(host.options);
  assert.equal(old.kernel?.state, 'missing');
  assert.match(old.kernel?.remedy ?? '', /trixie-backports/);
  await rm(join(host.sysRoot, 'module'), { recursive: true });
  assert.match((await checksOf(host.options)).vfio_pci_core?.remedy ?? '', /`modprobe vfio-pci`/);
});

test('a function that the kernel does not let be traced is a warning that says what is not seen', async (t) => {
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

test('buffers that cannot be listed are a warning', async (t) => {
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

test('the report is plain without colour, and folds where it is told the width', async (t) => {
  const diagnosis = await diagnose({ ...(await goodHost(t)).options, bpftrace: 'no-such-program' });
  const plain = styled(report(diagnosis, { color: false, columns: undefined }));
  assert.ok(!plain.includes('\x1b'));
  assert.match(
    plain,
    /^NOT FOUND {2}bpftrace +there is no executable no-such-program\n +to mend it: `apt-get/m,
  );
  assert.match(plain, /^This host \(kernel 7\.3\.4\) cannot be traced: 1 of 16 not found, 1 warning\.$/m);
  const colored = styled(report(diagnosis, { color: true, columns: 80 }));
  assert.ok(colored.includes('\x1b[31mNOT FOUND\x1b[0m'));
  for (const line of styled(report(diagnosis, { color: false, columns: 80 })).split('\n')) {
    assert.ok(line.length <= 80, line);
  }
});

test('colour is for terminals, and NO_COLOR forbids it', () => {
  assert.equal(wantsColor({ isTTY: true }, {}), true);
  assert.equal(wantsColor({ isTTY: true }, { NO_COLOR: '' }), true);
  assert.equal(wantsColor({ isTTY: true }, { NO_COLOR: '1' }), false);
  assert.equal(wantsColor({ isTTY: true }, { TERM: 'dumb' }), false);
  assert.equal(wantsColor({} as NodeJS.WriteStream, {}), false);
});
