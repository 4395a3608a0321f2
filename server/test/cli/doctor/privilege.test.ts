import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiagnoseOptions } from '../../../src/cli/doctor.ts';
import { fakeBpftrace } from '../../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { capabilities, checksOf, goodHost } from './good-host.ts';

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
  assert.equal((await check(status(all), newer))?.state, 'ok');
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
  assert.equal(admin?.state, 'ok', 'CAP_SYS_ADMIN covers CAP_BPF and CAP_PERFMON');
  const older = await check(status(all), {
    ...options,
    bpftrace: await fakeBpftrace(t, 'version', '0.24.2'),
  });
  assert.match(older?.message ?? '', /bpftrace 0\.24\.2 needs root/);
});
