import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Value } from 'typebox/value';
import { wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import { wantsColor } from '../../src/cli/color.ts';
import { type Check, Diagnosis } from '../../src/cli/doctor/diagnosis.ts';
import { report } from '../../src/cli/doctor/report.ts';
import { type DiagnoseOptions, diagnose } from '../../src/cli/doctor.ts';
import { styled } from '../../src/cli/output.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import { type FakeHost, fakeHost } from '../collector/fake-host.ts';
import { fakeBpftrace } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

interface Host extends FakeHost {
  options: DiagnoseOptions;
  write(root: 'proc' | 'sys', path: string, text: string): Promise<void>;
  bind(device: string, driver: string): Promise<void>;
  setNamespace(link: string): Promise<void>;
}

const PRIVATE_ONLY = /^(kvm_vfio_dmabuf|vfio_dma_buf_get_data|kvm_gmem)/;

/** A host on which each check has the state `found`. */
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
    etcRoot: host.etcRoot,
    uid: 0,
    node: '20.19.0',
    wallMs: Date.UTC(2026, 10, 1),
  };
  return { ...host, options, write, bind, setNamespace };
}

async function checksOf(options: DiagnoseOptions): Promise<Record<string, Check>> {
  const { diagnosis } = await diagnose(options);
  assert.ok(Value.Check(Diagnosis, diagnosis));
  const missing = diagnosis.checks.some(({ state }) => state === 'missing');
  assert.equal(diagnosis.traceable, !missing);
  for (const { name, state, remedy } of diagnosis.checks) {
    assert.equal(remedy === null, state === 'found', `${name} has a remedy only if it is not found`);
  }
  return Object.fromEntries(diagnosis.checks.map((check) => [check.name, check]));
}

test('on a good host each check has the state found, and docs/doctor.md describes the checks', async (t) => {
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
      'clock',
      'memory',
      'setpriv',
      'taskset',
    ].map((name) => [name, 'found']),
  );
  const page = await readFile(new URL('../../../docs/doctor.md', import.meta.url), 'utf8');
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
  assert.match(checks.probes?.message ?? '', /Not traced here: bind \(bind\): function kvm_vfio_dmabuf_bind/);
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
function capabilities(...bits: bigint[]): string {
  return `CapEff:\t${bits
    .reduce((all, bit) => all | (1n << bit), 0n)
    .toString(16)
    .padStart(16, '0')}\n`;
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
    'warning',
    async () => ({ searchPath: '' }),
    /pdeathsig/,
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

test('a bpftrace that is too old is reported with its version', async (t) => {
  const { options, write, procRoot } = await goodHost(t);
  await write('proc', 'old', '#!/bin/sh\necho bpftrace v0.22.1\n');
  const path = join(procRoot, 'old');
  await chmod(path, 0o755);
  const { bpftrace } = await checksOf({ ...options, bpftrace: path });
  assert.equal(bpftrace?.state, 'missing');
  assert.match(bpftrace?.message ?? '', /is bpftrace 0\.22\.1; 0\.23\.0 up to/);
});

test('a kernel older than 6.19 and a module without dma-buf export are reported by different checks', async (t) => {
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

test('the report has no escape sequences without color, and is folded if the width is known', async (t) => {
  const { diagnosis } = await diagnose({ ...(await goodHost(t)).options, bpftrace: 'no-such-program' });
  const plain = styled(report(diagnosis, { color: false, columns: undefined }));
  assert.ok(!plain.includes('\x1b'));
  assert.match(
    plain,
    /^NOT FOUND {2}bpftrace +there is no executable no-such-program\n +fix: `apt-get update && apt-get/m,
  );
  assert.match(plain, /^This host \(kernel 7\.3\.4\) cannot be traced: 1 of 17 not found, 1 warning\.$/m);
  const colored = styled(report(diagnosis, { color: true, columns: 80 }));
  assert.ok(colored.includes('\x1b[31mNOT FOUND\x1b[0m'));
  for (const line of styled(report(diagnosis, { color: false, columns: 80 })).split('\n')) {
    assert.ok(line.length <= 80, line);
  }
});

test('color is used on terminals only, and NO_COLOR disables it', () => {
  assert.equal(wantsColor({ isTTY: true }, {}), true);
  assert.equal(wantsColor({ isTTY: true }, { NO_COLOR: '' }), true);
  assert.equal(wantsColor({ isTTY: true }, { NO_COLOR: '1' }), false);
  assert.equal(wantsColor({ isTTY: true }, { TERM: 'dumb' }), false);
  assert.equal(wantsColor({} as NodeJS.WriteStream, {}), false);
});

/** Writes an executable script; returns its path. */
async function script(host: Host, name: string, text: string): Promise<string> {
  await host.write('proc', name, `#!/bin/sh\n${text}\n`);
  const path = join(host.procRoot, name);
  await chmod(path, 0o755);
  return path;
}

const RELEASES: readonly [osRelease: string, version: string | null, remedy: RegExp, never: RegExp][] = [
  [
    'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian 13"',
    '0.20.2',
    /`apt-get update && apt-get install bpftrace`; .*not from Debian 13,/,
    /releases/,
  ],
  [
    'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"',
    '0.17.0',
    /^Debian 12 packages bpftrace 0\.17\.0, which is too old: .*releases.*to 13 or newer/,
    /apt-get/,
  ],
  [
    'ID=debian\nPRETTY_NAME="Debian forky/sid"',
    null,
    /^`apt-get update && apt-get install bpftrace`/,
    /releases/,
  ],
  [
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.3 LTS"',
    '0.20.2',
    /^Ubuntu 24\.04\.3 LTS packages bpftrace 0\.20\.2, which is too old: .*releases.*to 25\.10 or newer/,
    /apt-get/,
  ],
  [
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="26.04"',
    null,
    /^`apt-get update && apt-get install bpftrace`/,
    /releases/,
  ],
  [
    'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="22"\nPRETTY_NAME="Linux Mint 22"',
    '0.20.2',
    /^Linux Mint 22 is not known to package bpftrace 0\.23/,
    /apt-get/,
  ],
  [
    'ID=fedora\nVERSION_ID=41\nPRETTY_NAME="Fedora Linux 41"',
    '0.21.2',
    /^Fedora Linux 41 packages bpftrace 0\.21\.2.*to 43 or newer/,
    /dnf|apt-get/,
  ],
  ['ID=fedora\nVERSION_ID=43', '0.21.2', /^`dnf install --refresh bpftrace`/, /apt-get|releases/],
  [
    'ID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME="Alpine Linux v3.20"',
    '0.20.4',
    /^Alpine Linux v3\.20 .*releases.*to 3\.22 or newer/,
    /apk|apt-get/,
  ],
  ['ID=alpine\nVERSION_ID=3.24.0', null, /^`apk add --update-cache bpftrace`/, /apt-get|releases/],
  [
    'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.5"\nPRETTY_NAME="Rocky Linux 9.5"',
    '0.21.1',
    /^Rocky Linux 9\.5 is not known to package bpftrace 0\.23/,
    /dnf|apt-get/,
  ],
  [
    'ID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="10"\nPRETTY_NAME="CentOS Stream 10"',
    null,
    /^CentOS Stream 10 is not known to package/,
    /dnf|apt-get/,
  ],
  [
    'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\nVERSION_ID="20261101"',
    null,
    /^`zypper --refresh install bpftrace`/,
    /apt-get/,
  ],
  [
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\nPRETTY_NAME="openSUSE Leap 15.6"',
    '0.18.0',
    /^openSUSE Leap 15\.6 is not known/,
    /zypper|apt-get/,
  ],
  ['ID=arch\nBUILD_ID=rolling', '0.22.1', /^`pacman -Syu bpftrace`; .*out of date/, /apt-get/],
  [
    'ID=void\nPRETTY_NAME="Void Linux"',
    null,
    /package manager of Void Linux; if it has none, .*releases/,
    /apt-get/,
  ],
  ['ID=debian\nVERSION_ID="13"', '1.0.0', /^update vfio-dmabuf-tracer, or .*0\.23 to 0\.x/, /apt-get/],
];

test('the remedy for bpftrace depends on the distribution, and never proposes the version that was rejected', async (t) => {
  const host = await goodHost(t);
  for (const [text, version, expected, never] of RELEASES) {
    await writeFile(join(host.etcRoot, 'os-release'), `${text}\n`);
    const bpftrace =
      version === null ? 'no-such-program' : await script(host, 'rejected', `echo bpftrace v${version}`);
    const { bpftrace: check } = await checksOf({ ...host.options, bpftrace });
    assert.equal(check?.state, 'missing', text);
    assert.match(check?.remedy ?? '', expected, text);
    assert.doesNotMatch((check?.remedy ?? '').replace(/; or set --bpftrace\.path.*$/, ''), never, text);
  }
  await rm(host.etcRoot, { recursive: true });
  const { bpftrace: unknown } = await checksOf({ ...host.options, bpftrace: 'no-such-program' });
  assert.match(unknown?.remedy ?? '', /package manager; if it has none/);
});

test('the remedies for other packages use the package manager of the distribution', async (t) => {
  const host = await goodHost(t);
  await writeFile(
    join(host.etcRoot, 'os-release'),
    'ID=alpine\nVERSION_ID=3.24.0\nPRETTY_NAME="Alpine Linux v3.24"\n',
  );
  await rm(join(host.sysRoot, 'bus/pci'), { recursive: true });
  const checks = await checksOf({ ...host.options, searchPath: '', wallMs: 1000, node: '20.18.3' });
  assert.match(checks.setpriv?.remedy ?? '', /`apk add --update-cache setpriv`/);
  assert.match(checks.clock?.remedy ?? '', /`apk add --update-cache chrony`/);
  assert.match(
    checks.devices?.remedy ?? '',
    /install driverctl with the package manager of Alpine Linux v3\.24/,
  );
  for (const { remedy } of Object.values(checks)) assert.doesNotMatch(remedy ?? '', /apt-get/);
});

const HELPERS: readonly [what: string, text: string, message: RegExp, remedy: RegExp][] = [
  [
    'glibc’s loader',
    'echo "bpftrace: error while loading shared libraries: libbcc.so.0: cannot open shared object file: No such file or directory" >&2; exit 127',
    /exited with 127: .*error while loading shared libraries: libbcc\.so\.0/,
    /`ldd .*missing.*libbcc\.so\.0/,
  ],
  [
    'musl’s loader',
    'echo "Error loading shared library libLLVM.so.19.1: No such file or directory (needed by /usr/bin/bpftrace)" >&2; exit 127',
    /exited with 127: Error loading shared library/,
    /`ldd .*libLLVM\.so\.19\.1/,
  ],
  ['a signal', 'kill -SEGV $$', /killed by SIGSEGV/, /by hand/],
  ['the OOM killer', 'kill -KILL $$', /killed by SIGKILL/, /dmesg/],
  ['no output', 'exit 3', /exited with 3$/, /by hand/],
  ['another program', 'echo hello', /exited with 0 and printed "hello"/, /--bpftrace\.path/],
];

for (const [what, text, message, remedy] of HELPERS) {
  test(`a bpftrace that cannot be run (${what}) is reported with its output, its exit and a remedy`, async (t) => {
    const host = await goodHost(t);
    const { bpftrace } = await checksOf({ ...host.options, bpftrace: await script(host, 'broken', text) });
    assert.equal(bpftrace?.state, 'missing');
    assert.match(bpftrace?.message ?? '', message);
    assert.match(bpftrace?.remedy ?? '', remedy);
  });
}

test('a bpftrace whose interpreter does not exist is reported with that cause', async (t) => {
  const host = await goodHost(t);
  await host.write('proc', 'lost', '#!/no/such/interpreter\n');
  const lost = join(host.procRoot, 'lost');
  await chmod(lost, 0o755);
  const { bpftrace } = await checksOf({ ...host.options, bpftrace: lost });
  assert.match(bpftrace?.message ?? '', /could not be started: .*ENOENT/);
  assert.match(bpftrace?.remedy ?? '', /interpreter/);
});

test('other helper commands that cannot be run are reported with their output', async (t) => {
  const host = await goodHost(t);
  const loader = 'error while loading shared libraries: libcap-ng.so.0: cannot open shared object file';
  for (const name of ['setpriv', 'taskset']) await script(host, name, `echo "${loader}" >&2; exit 127`);
  const checks = await checksOf({ ...host.options, searchPath: host.procRoot });
  for (const name of ['setpriv', 'taskset']) {
    assert.equal(checks[name]?.state, 'warning');
    assert.match(checks[name]?.message ?? '', /exited with 127: .*libcap-ng/);
  }
});

test('a variant driver that can export is recognized by the symbols of the kernel, or else by its name', async (t) => {
  const host = await goodHost(t);
  const drivers = ['nvgrace_gpu_vfio_pci', 'some_new_vfio_pci'];
  await host.bind('0000:42:00.0', 'nvgrace_gpu_vfio_pci');
  assert.equal(
    (await checksOf(host.options)).devices?.state,
    'found',
    'the name decides if no symbols can be read',
  );
  await host.bind('0000:43:00.0', 'some_new_vfio_pci');
  const symbols = drivers.map(
    (name) => `0000000000000000 t ${name.slice(0, 4)}_get_dmabuf_phys\t[${name}]\n`,
  );
  await host.write('proc', 'kallsyms', `0000000000000000 T dma_buf_export\n${symbols.join('')}`);
  const { devices } = await checksOf(host.options);
  assert.equal(devices?.state, 'found', devices?.message);
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

const CAPABILITIES = { dacOverride: 1n, dacRead: 2n, ptrace: 19n, perfmon: 38n, bpf: 39n };
function status(bits: readonly bigint[], ambient: readonly bigint[] = bits): string {
  return `${capabilities(...bits)}${capabilities(...ambient).replace('CapEff', 'CapAmb')}`;
}

test('the capabilities that a user other than root needs depend on the version of bpftrace', async (t) => {
  const host = await goodHost(t);
  const all = Object.values(CAPABILITIES);
  const options = { ...host.options, uid: 1000 };
  const newer = { ...options, bpftrace: await fakeBpftrace(t, 'version', '0.25.0') };
  const check = async (text: string, which: DiagnoseOptions) => {
    await host.write('proc', 'self/status', text);
    return (await checksOf(which)).privilege;
  };
  assert.equal((await check(status(all), newer))?.state, 'found');
  assert.match((await check(status(all), newer))?.message ?? '', /user 1000/);
  const without = (bit: bigint) => status(all.filter((one) => one !== bit));
  for (const [bit, name] of [
    [CAPABILITIES.dacOverride, 'CAP_DAC_OVERRIDE'],
    [CAPABILITIES.dacRead, 'CAP_DAC_READ_SEARCH'],
    [CAPABILITIES.bpf, 'CAP_BPF'],
    [CAPABILITIES.perfmon, 'CAP_PERFMON'],
  ] as const) {
    const privilege = await check(without(bit), newer);
    assert.equal(privilege?.state, 'missing', name);
    assert.match(privilege?.message ?? '', new RegExp(`needs root, or ${name}, which`));
    assert.match(privilege?.remedy ?? '', new RegExp(`add ${name} to AmbientCapabilities=`));
  }
  assert.equal((await check(without(CAPABILITIES.ptrace), newer))?.state, 'warning');
  assert.equal((await check(status(all, []), newer))?.state, 'missing', 'bpftrace would not inherit them');
  const admin = await check(status([1n, 2n, 19n, 21n]), newer);
  assert.equal(admin?.state, 'found', 'CAP_SYS_ADMIN covers CAP_BPF and CAP_PERFMON');
  const older = await check(status(all), {
    ...options,
    bpftrace: await fakeBpftrace(t, 'version', '0.24.2'),
  });
  assert.match(older?.message ?? '', /bpftrace 0\.24\.2 needs root/);
});
