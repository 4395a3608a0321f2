import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { inspectHost } from '../../src/bpftrace/facts.ts';
import { composeForHost } from '../../src/bpftrace/plan.ts';
import { classifyStart, lacksCause, shortMessage, startErrno } from '../../src/bpftrace/process/classify.ts';
import { Exclusions } from '../../src/collector/exclusions.ts';
import { fakeHost } from '../collector/fake-host.ts';
import { has, live } from '../collector/live-run.ts';
import { eventually } from '../fixtures/eventually.ts';
import { fakeBpftrace, temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { testFragments } from './test-fragments.ts';

function bcc(cause: string): string {
  return `${cause}\nERROR: Error attaching probe: kprobe:vfio_pci_core:vfio_pci_core_feature_dma_buf\n`;
}
function libbpf(cause: string): string {
  return (
    "ERROR: Unable to attach probe: kprobe:vfio_pci_core:vfio_pci_core_feature_dma_buf. If this is expected, set the 'missing_probes' config variable to 'warn'.\n" +
    `[WARN] libbpf: prog 'kprobe_vfio_1': failed to create kprobe 'vfio_pci_core:f+0x0' perf event: ${cause}\n`
  );
}
function load(cause: string): string {
  return `ERROR: Unknown BPF object load failure. Try using the "-d libbpf" option to see the full loading log.\n${cause}\n`;
}

const CAUSES: readonly [text: string, reason: string, errno: string | null][] = [
  [bcc('cannot attach kprobe, Permission denied'), 'permission', 'EACCES'],
  [bcc('cannot attach kprobe, Operation not permitted'), 'permission', 'EPERM'],
  [bcc('cannot attach kprobe, Device or resource busy'), 'resources', 'EBUSY'],
  [bcc('cannot attach kprobe, Cannot allocate memory'), 'resources', 'ENOMEM'],
  [bcc('cannot attach kprobe, No space left on device'), 'resources', 'ENOSPC'],
  [
    bcc('perf_event_open(/sys/kernel/tracing/events/kprobes/p_1/id): Too many open files'),
    'resources',
    'EMFILE',
  ],
  [
    bcc('create_probe_event: open(/sys/kernel/tracing/kprobe_events): Too many open files in system'),
    'resources',
    'ENFILE',
  ],
  [
    bcc('create_probe_event: open(/sys/kernel/tracing/kprobe_events): Permission denied'),
    'permission',
    'EACCES',
  ],
  [bcc('ioctl(PERF_EVENT_IOC_SET_BPF): Permission denied'), 'permission', 'EACCES'],
  [bcc('cannot attach kprobe, probe entry may not exist'), 'function_missing', 'ENOENT'],
  [bcc('cannot attach kprobe, Invalid argument'), 'function_missing', 'EINVAL'],
  [bcc("WARNING: Operation not permitted: couldn't set RLIMIT_NOFILE for bpftrace."), 'attach_failed', null],
  [libbpf('Permission denied'), 'permission', 'EACCES'],
  [libbpf('-EPERM'), 'permission', 'EPERM'],
  [libbpf('-ENOMEM'), 'resources', 'ENOMEM'],
  [libbpf('-EMFILE'), 'resources', 'EMFILE'],
  [libbpf('-ENOENT'), 'function_missing', 'ENOENT'],
  [libbpf('-EINVAL'), 'function_missing', 'EINVAL'],
  [libbpf('').split('[WARN]')[0] ?? '', 'attach_failed', null],
  [
    load("[WARN] libbpf: Error in bpf_object__probe_loading(): -EPERM. Couldn't load trivial BPF program."),
    'permission',
    'EPERM',
  ],
  [load("[WARN] libbpf: map 'AT_x': failed to create: Cannot allocate memory(-12)"), 'resources', 'ENOMEM'],
  [
    load(
      "[WARN] libbpf: prog 'a': BPF program load failed: -EACCES\n[WARN] libbpf: prog 'a': -- BEGIN PROG LOAD LOG --",
    ),
    'compile_error',
    'EACCES',
  ],
  [load(''), 'start_failed', null],
  [
    'ERROR: Error loading BPF program for kprobe_f_1. Error code: -13 (Permission denied). Use -v for full kernel error log.',
    'compile_error',
    'EACCES',
  ],
  [
    'ERROR: Error loading BPF program for kprobe_f_1. Error code: -12 (Cannot allocate memory). Use -v for full kernel error log.',
    'resources',
    'ENOMEM',
  ],
  [
    'ERROR: Error loading BPF program for kprobe_f_1. Use -v for full kernel error log.\nERROR: Loading BPF object(s) failed.',
    'compile_error',
    null,
  ],
];

test('a failure to attach a probe is classified by its errno, from the text of each bpftrace version', () => {
  for (const [text, reason, errno] of CAUSES) {
    assert.equal(startErrno(text), errno, text);
    assert.equal(classifyStart(text), reason, text);
    if (errno !== null) assert.match(shortMessage(text), new RegExp(errno), text);
    assert.equal(lacksCause(text), errno === null && /ttach|Loading|load failure/.test(text), text);
  }
  const message = shortMessage(bcc('cannot attach kprobe, Permission denied'));
  assert.match(message, /^EACCES: cannot attach kprobe, Permission denied\nERROR: Error attaching probe/);
});

for (const mode of ['attach-fails', 'attach-fails-silently'] as const) {
  test(`a host that does not permit the attach is retried, and traced as soon as it does (${mode})`, async (t) => {
    const allowed = join(await temporaryFolder(t), 'allowed');
    const errno = mode === 'attach-fails' ? 'Permission denied' : '-EACCES';
    const run = await live(t, { mode, argument: `${allowed}|${errno}` });
    const exits = () => run.children().filter((child) => child.state === 'exited');
    await eventually(() => assert.ok(exits().length >= 4));
    for (const child of exits()) {
      assert.equal(child.reason, 'permission');
      assert.match(child.message, /EACCES/);
      assert.match(child.remedy ?? '', /CAP_PERFMON.*seccomp.*SELinux.*lockdown/);
    }
    for (const child of run.children()) {
      if (child.state !== 'starting') continue;
      assert.deepEqual(
        child.probes.map(({ attached }) => attached),
        [true, true, false],
        'no fragment is left out',
      );
    }
    await writeFile(allowed, '');
    await eventually(() => assert.ok(has(run, 'heartbeat')));
    const last = run.children().at(-1);
    assert.ok(last?.state === 'starting' && last.probes[1]?.attached === true);
  });
}

test('if no function can be attached and the errno is unknown, no fragment is excluded', async (t) => {
  const allowed = join(await temporaryFolder(t), 'allowed');
  const run = await live(t, { mode: 'attach-fails-silently', argument: `${allowed}|` });
  await eventually(() => assert.ok(run.children().filter(({ state }) => state === 'exited').length >= 5));
  assert.ok(run.children().every(({ state }) => state !== 'unavailable'));
  await writeFile(allowed, '');
  await eventually(() => assert.ok(has(run, 'heartbeat')));
});

test('a rejected fragment is retried after a pause, next to the running program', async (t) => {
  const fixed = join(await temporaryFolder(t), 'fixed');
  const run = await live(t, {
    mode: 'reject-until',
    argument: `{ export }|${fixed}`,
    // Shorter than an inspection of the host.
    timing: { exclusionMs: 20, exclusionMaxMs: 20 },
  });
  await eventually(() => assert.ok(has(run, 'heartbeat')));
  const running = run.children().at(-1);
  assert.ok(running?.state === 'starting' && running.probes[1]?.attached === false);
  const since = run.lines.length;
  // Several retries fail meanwhile, and do not stop the running program.
  await eventually(() => assert.ok(run.lines.length > since + 100));
  assert.equal(run.children().at(-1), running);
  await writeFile(fixed, '');
  await eventually(() => {
    const last = run.children().at(-1);
    assert.ok(last?.state === 'starting' && last.probes[1]?.attached === true);
  });
  const exited = run.children().at(-2);
  assert.ok(exited?.state === 'exited' && /can be attached now/.test(exited.message));
});

test('an exclusion expires, and the next one lasts longer, up to a limit', async (t) => {
  const host = await fakeHost(t);
  const fragments = testFragments();
  const { procRoot, sysRoot, etcRoot } = host;
  const bpftrace = await fakeBpftrace(t, 'normal');
  const facts = await inspectHost({
    wanted: wantedBy(fragments),
    bpftrace,
    procRoot,
    sysRoot,
    etcRoot,
    uid: 0,
  });
  const plan = composeForHost(facts, fragments);
  assert.ok(plan.runnable);
  let now = 0;
  const exclusions = new Exclusions({ exclusionMs: 60_000, exclusionMaxMs: 150_000 }, () => now);
  const rejected = {
    reason: 'compile_error',
    message: 'm',
    ready: false,
    stderr: `stdin:${plan.composed.parts[0]?.firstLine}:1-2: ERROR: x`,
    code: 1,
  } as const;
  for (const wait of [60_000, 120_000, 150_000, 150_000]) {
    assert.equal(exclusions.note(plan, rejected), true);
    assert.equal(exclusions.note(plan, rejected), false, 'it is already excluded');
    now += wait - 1;
    assert.equal(exclusions.expired, false);
    now += 1;
    assert.equal(exclusions.expired, true);
    assert.deepEqual(exclusions.expire(), [plan.composed.parts[0]?.probe]);
    assert.equal(exclusions.reasons.size, 0);
  }
  // The retry failed for a reason that is not the fragment's: without the first pause it would never be tried again.
  exclusions.resume([plan.composed.parts[0]?.probe ?? '']);
  assert.equal(exclusions.reasons.size, 1);
  assert.equal(exclusions.expired, false);
  now += 60_000;
  assert.equal(exclusions.expired, true);
  exclusions.expire();
  for (const reason of ['permission', 'resources', 'start_failed', 'not_root', 'no_symbols'] as const) {
    assert.equal(exclusions.note(plan, { ...rejected, reason }), false, reason);
  }
});
