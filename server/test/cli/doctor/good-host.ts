import assert from 'node:assert/strict';
import { chmod, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Value } from 'typebox/value';
import { wantedBy } from '../../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../../src/bpftrace/compiler/fragment.ts';
import { type Check, Diagnosis } from '../../../src/cli/doctor/diagnosis.ts';
import { type DiagnoseOptions, diagnose } from '../../../src/cli/doctor.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';
import { type FakeHost, fakeHost } from '../../collector/fake-host.ts';
import { fakeBpftrace } from '../../fixtures/fake-bpftrace/fake-bpftrace.ts';

export interface Host extends FakeHost {
  options: DiagnoseOptions;
  write(root: 'proc' | 'sys', path: string, text: string): Promise<void>;
  bind(device: string, driver: string): Promise<void>;
  setNamespace(link: string): Promise<void>;
}

const PRIVATE_ONLY = /^(kvm_vfio_dmabuf|vfio_dma_buf_get_data|kvm_gmem)/;

/** A host on which each check has the state `ok`. */
export async function goodHost(t: TestContext): Promise<Host> {
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
  await mkdir(join(host.procRoot, '1/root/var/log/pods'), { recursive: true });
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

export async function checksOf(options: DiagnoseOptions): Promise<Record<string, Check>> {
  const { diagnosis } = await diagnose(options);
  assert.ok(Value.Check(Diagnosis, diagnosis));
  const missing = diagnosis.checks.some(({ state }) => state === 'missing');
  assert.equal(diagnosis.traceable, !missing);
  for (const { name, state, remedy } of diagnosis.checks) {
    assert.equal(remedy === null, state === 'ok', `${name} has a remedy only if it is not found`);
  }
  return Object.fromEntries(diagnosis.checks.map((check) => [check.name, check]));
}

export function capabilities(...bits: bigint[]): string {
  return `CapEff:\t${bits
    .reduce((all, bit) => all | (1n << bit), 0n)
    .toString(16)
    .padStart(16, '0')}\n`;
}

/** Writes an executable script; returns its path. */
export async function script(host: Host, name: string, text: string): Promise<string> {
  await host.write('proc', name, `#!/bin/sh\n${text}\n`);
  const path = join(host.procRoot, name);
  await chmod(path, 0o755);
  return path;
}
