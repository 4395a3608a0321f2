import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type HostFacts, inspectHost, parseLockdown } from '../../src/bpftrace/facts.ts';
import { composeForHost } from '../../src/bpftrace/plan.ts';
import { pageBytes } from '../../src/host/page-size.ts';
import { type FakeHost, fakeHost } from '../collector/fake-host.ts';
import { fakeBpftrace } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { testFragments } from './test-fragments.ts';

const WANTED = {
  functions: ['dma_buf_export', 'vfio_pci_dma_buf_attach', 'vfio_pci_core_feature_dma_buf', 'hidden', 'none'],
  members: ['kvm.userspace_pid', 'kvm.none'],
};

function inspect(host: FakeHost, bpftrace: string): Promise<HostFacts> {
  const { procRoot, sysRoot } = host;
  return inspectHost({ wanted: WANTED, bpftrace, searchPath: '', procRoot, sysRoot, uid: 0 });
}

test('the facts of a host are its kernel, functions with their modules, members and bpftrace', async (t) => {
  const host = await fakeHost(t);
  const path = await fakeBpftrace(t, 'normal');
  assert.deepEqual(await inspect(host, path), {
    kernel: '7.3.4',
    uid: 0,
    btf: true,
    lockdown: null,
    tracefs: true,
    functions: {
      dma_buf_export: 'vmlinux',
      vfio_pci_dma_buf_attach: 'vfio_pci_core',
      vfio_pci_core_feature_dma_buf: 'vfio_pci_core',
    },
    untraceable: [],
    members: { 'kvm.userspace_pid': 0 },
    pageBytes: pageBytes(),
    modules: ['vfio_pci_core'],
    bpftrace: { path, version: '0.23.2', parts: [0, 23, 2] },
    bpftraceVersion: [0, 23, 2],
  });
});

test('a function that the kernel does not list as traceable is listed as untraceable', async (t) => {
  const host = await fakeHost(t);
  await host.loadModule('other', ['hidden']);
  const list = join(host.sysRoot, 'kernel/tracing/available_filter_functions');
  await writeFile(list, 'dma_buf_export\nvfio_pci_dma_buf_attach [vfio_pci_core]\nhidden [elsewhere]');
  const facts = await inspect(host, 'none');
  assert.deepEqual(Object.keys(facts.functions), ['dma_buf_export', 'vfio_pci_dma_buf_attach']);
  assert.deepEqual(facts.untraceable, ['hidden', 'vfio_pci_core_feature_dma_buf']);
});

test('if the list of traceable functions cannot be read, the type information decides', async (t) => {
  const host = await fakeHost(t);
  const list = join(host.sysRoot, 'kernel/tracing/available_filter_functions');
  await rm(list);
  await mkdir(list);
  assert.equal(Object.keys((await inspect(host, 'none')).functions).length, 3);
});

test('a snapshot needs the type information of the module, and the reason names what is missing', async (t) => {
  const host = await fakeHost(t);
  const fragments = testFragments('iter:dmabuf { {{offset:vfio_pci_dma_buf.vdev}} }');
  const facts = await inspect(host, await fakeBpftrace(t, 'normal'));
  const plan = (change: Partial<HostFacts>) => {
    const made = composeForHost({ ...facts, ...change }, fragments);
    return made.runnable ? made.oneshot : assert.fail();
  };
  assert.deepEqual(plan({}), { reason: 'neither the kernel nor a loaded module has vfio_pci_dma_buf.vdev' });
  assert.deepEqual(plan({ modules: ['kvm'] }), {
    reason:
      'neither the kernel nor a loaded module has vfio_pci_dma_buf.vdev: vfio_pci_core has no BTF; ' +
      'if it is not loaded, no VFIO buffer can exist',
  });
  const known = plan({ members: { 'vfio_pci_dma_buf.vdev': 64 } });
  assert.ok('program' in known && known.program.includes('{ 8 }'));
});

test('a module with broken type information has no functions, and the others keep theirs', async (t) => {
  const host = await fakeHost(t);
  await writeFile(join(host.sysRoot, 'kernel/btf/broken'), Buffer.alloc(100, 0xff));
  assert.equal(Object.keys((await inspect(host, 'none')).functions).length, 3);
});

test('type information of the kernel that cannot be read is an obstacle with a remedy, not an exception', async (t) => {
  const host = await fakeHost(t);
  const path = join(host.sysRoot, 'kernel/btf/vmlinux');
  const bytes = await readFile(path);
  // Gives the first type an unknown kind. The kind is in bits 24 to 28 of the second word of a type.
  bytes.writeUInt8(31, bytes.readUInt32LE(4) + bytes.readUInt32LE(8) + 7);
  await writeFile(path, bytes);
  const facts = await inspect(host, 'none');
  assert.deepEqual([facts.btf, facts.btfUnreadable], [false, true]);
  const plan = composeForHost(facts, testFragments());
  assert.ok(!plan.runnable && plan.failure.reason === 'no_btf');
  assert.match(plan.failure.message, /cannot be parsed/);
});

test('the lockdown mode is the one in brackets', () => {
  assert.equal(parseLockdown('none [integrity] confidentiality\n'), 'integrity');
  assert.equal(parseLockdown(null), null);
});

test('each obstacle that prevents all tracing has a reason and a remedy', async (t) => {
  const host = await fakeHost(t);
  const good = await inspect(host, await fakeBpftrace(t, 'normal'));
  const fragments = testFragments();
  assert.equal(composeForHost(good, fragments).runnable, true);
  const newer = { path: 'b', version: '0.27.1', parts: [0, 27, 1] };
  assert.equal(
    composeForHost({ ...good, uid: 7, bpftrace: newer, bpftraceVersion: [0, 27, 1] }, fragments).runnable,
    true,
  );
  const nothingFits = composeForHost(good, { ...fragments, probes: [] });
  assert.ok(!nothingFits.runnable && nothingFits.failure.reason === 'function_missing');
  const cases: [Partial<HostFacts>, string][] = [
    [{ btf: false }, 'no_btf'],
    [{ lockdown: 'confidentiality' }, 'lockdown'],
    [{ uid: 1000 }, 'not_root'],
    [{ tracefs: false }, 'no_symbols'],
    [{ bpftrace: { reason: 'no_bpftrace', message: 'm', remedy: 'r' } }, 'no_bpftrace'],
    [{ functions: {} }, 'no_symbols'],
    [{ functions: { dma_buf_export: 'vmlinux' } }, 'no_symbols'],
    [{ uid: 7, bpftrace: newer, bpftraceVersion: [0, 27, 1], tracefs: false }, 'not_root'],
  ];
  for (const [change, reason] of cases) {
    const plan = composeForHost({ ...good, ...change }, fragments);
    assert.ok(!plan.runnable, reason);
    assert.equal(plan.failure.reason, reason);
    assert.ok(plan.failure.message !== '' && plan.failure.remedy !== '');
    assert.ok(plan.probes.every((probe) => !probe.attached && probe.reason !== null));
  }
});

const isRoot = process.geteuid?.() === 0;
const CAPABILITIES = ['dac_read_search', 'dac_override', 'bpf', 'perfmon'];

for (const capabilities of [CAPABILITIES, []]) {
  const what =
    capabilities.length > 0
      ? 'with ambient capabilities can read files of root'
      : 'without capabilities cannot read files of root';
  test(`a user other than root ${what}`, { skip: isRoot ? false : 'needs root' }, async (t) => {
    const host = await fakeHost(t);
    const list = join(host.sysRoot, 'kernel/tracing');
    await chmod(join(list, 'available_filter_functions'), 0o400);
    await chmod(list, 0o700);
    await chmod(join(host.sysRoot, '..'), 0o755);
    // The real /proc/self has the capabilities of this process.
    await rm(join(host.procRoot, 'self'), { recursive: true, force: true });
    await symlink('/proc/self', join(host.procRoot, 'self'));
    // A shell script, because this user may have no access to the folder of Node.
    const bpftrace = join(host.sysRoot, '..', 'bpftrace');
    await writeFile(bpftrace, '#!/bin/sh\necho bpftrace v0.25.1\n', { mode: 0o755 });
    const script = join(host.sysRoot, '..', 'inspect.mts');
    const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    await writeFile(
      script,
      `import { inspectHost } from ${url('../../src/bpftrace/facts.ts')};
       import { composeForHost } from ${url('../../src/bpftrace/plan.ts')};
       import { testFragments } from ${url('./test-fragments.ts')};
       const facts = await inspectHost({ wanted: ${JSON.stringify(WANTED)}, searchPath: '', ...${JSON.stringify(
         {
           procRoot: host.procRoot,
           sysRoot: host.sysRoot,
           etcRoot: host.etcRoot,
           bpftrace,
         },
       )} });
       const plan = composeForHost(facts, testFragments());
       console.log(JSON.stringify({ uid: facts.uid, tracefs: facts.tracefs, denied: facts.tracefsDenied, failure: plan.runnable ? null : plan.failure }));`,
    );
    const set = capabilities.map((name) => `+${name}`).join(',');
    const granted = set === '' ? [] : ['--inh-caps', set, '--ambient-caps', set];
    const args = [
      '--reuid',
      '65534',
      '--regid',
      '65534',
      '--clear-groups',
      ...granted,
      process.execPath,
      '--import',
      'tsx',
      script,
    ];
    const { status, stdout, stderr } = spawnSync('setpriv', args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const result = JSON.parse(stdout);
    assert.equal(result.uid, 65534);
    if (capabilities.length > 0) {
      assert.deepEqual([result.tracefs, result.failure], [true, null]);
    } else {
      assert.deepEqual([result.tracefs, result.denied], [false, 'EACCES']);
      assert.equal(result.failure.reason, 'not_root');
      assert.match(
        result.failure.message,
        /needs root, or CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, CAP_BPF, CAP_PERFMON/,
      );
    }
  });
}
