import assert from 'node:assert/strict';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { checksOf, goodHost, script } from './good-host.ts';

test('a bpftrace that is too old is reported with its version', async (t) => {
  const { options, write, procRoot } = await goodHost(t);
  await write('proc', 'old', '#!/bin/sh\necho bpftrace v0.22.1\n');
  const path = join(procRoot, 'old');
  await chmod(path, 0o755);
  const { bpftrace } = await checksOf({ ...options, bpftrace: path });
  assert.equal(bpftrace?.state, 'missing');
  assert.match(bpftrace?.message ?? '', /is bpftrace 0\.22\.1; 0\.23\.0 up to/);
});

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
    assert.equal(checks[name]?.state, name === 'setpriv' ? 'missing' : 'warning');
    assert.match(checks[name]?.message ?? '', /exited with 127: .*libcap-ng/);
  }
});
