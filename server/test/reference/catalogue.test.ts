import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import { ERRNO_MESSAGES } from '../../src/contract/errno-names.ts';
import { INCIDENT_KINDS } from '../../src/contract/incidents.ts';
import { INCIDENT_RULES } from '../../src/incidents/rules/index.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import { CAUSES, REASONS, STAGES, VIOLATIONS } from '../../src/protocol/codes.ts';
import { EXPLANATIONS, explain, UNPRINTED } from '../../src/reference/catalogue.ts';
import { findExplanations } from '../../src/reference/search.ts';
import { type ProbeReason, reasonsOfProbes } from './probe-reasons.ts';

const FRAGMENTS = await loadFragments(probesDirectory());
const PROBE_REASONS = reasonsOfProbes(FRAGMENTS);

/** For example `attach EOPNOTSUPP not_revocable`. `any` means that no condition of the probe tests the errno. */
function kindsOf({ stage, name, errnos }: ProbeReason): string[] {
  return errnos.length === 0 ? [`${stage} any ${name}`] : errnos.map((errno) => `${stage} ${errno} ${name}`);
}

const PRINTED = [...new Set(PROBE_REASONS.flatMap(kindsOf))].sort();
/** A bind of KVM has the reason of an attach that is rejected inside it (`@bind_inner_reason`). */
const INSIDE_BIND = PRINTED.filter((kind) => kind.startsWith('attach ')).map((kind) =>
  kind.replace('attach', 'bind'),
);
const RULES = [
  ...new Set(
    EXPLANATIONS.filter(({ topic }) => topic !== 'cause').flatMap(({ name, rules }) =>
      rules.map(({ stage, errno }) => `${stage} ${errno ?? 'any'} ${name}`),
    ),
  ),
].sort();

test('each reason, violation and cause of the stream has one entry with a unique name', () => {
  const expected = [...REASONS, ...VIOLATIONS, ...CAUSES].filter((name) => name !== 'none');
  const inStream = EXPLANATIONS.filter(({ topic }) => topic !== 'incident').map(({ name }) => name);
  assert.deepEqual(inStream.sort(), expected.sort());
  assert.equal(new Set(EXPLANATIONS.map(({ name }) => name)).size, EXPLANATIONS.length);
  assert.equal(new Set(expected).size, expected.length);
});

for (const { name, topic, what, rules, remedy, docs, user_space } of EXPLANATIONS) {
  test(`the entry of the ${topic} ${name} is complete`, () => {
    assert.match(what, /^([A-Z]|iommufd).{20,}\.$/);
    assert.match(remedy, /^[A-Z].{20,}\.$/s);
    assert.equal(rules.length === 0, topic === 'incident');
    for (const rule of rules) {
      assert.match(rule.file, /^(drivers|virt|net|include)\/[a-z0-9_/-]+\.[ch]$/);
      assert.match(rule.function, /^[a-z_0-9]+$/);
      // `kernels` is a capability. A version is only a hint, in `mainline`.
      assert.match(rule.kernels, /^(every kernel|kernels|private-v[12])\b/);
      assert.doesNotMatch(`${rule.kernels} ${rule.check}`, /\b[67]\.\d+\b/);
      assert.match(rule.mainline ?? '7.1', /^\d\.\d+( or newer| to \d\.\d+)?$/);
      assert.equal(rule.mainline === null, rule.kernels.startsWith('private'));
      assert.match(rule.errno ?? 'EINVAL', /^E[A-Z]+$/);
      assert.ok(rule.check.length > 10 && !rule.check.endsWith('.'), rule.check);
      if (topic === 'cause') assert.equal(rule.stage, 'revoke');
    }
    for (const text of user_space)
      assert.ok(
        findExplanations(text).some((entry) => entry.name === name),
        text,
      );
    if (topic === 'incident') assert.ok(existsSync(new URL(`../../../${docs}`, import.meta.url)), docs);
    else assert.equal(docs, `docs/reasons.md#${name}`);
  });
}

test('every kind of incident is explained, and its runbook exists', () => {
  for (const kind of INCIDENT_KINDS) {
    assert.notEqual(explain(kind), undefined, kind);
    const page = `../../../docs/runbooks/${INCIDENT_RULES[kind].runbook}.md`;
    assert.ok(existsSync(new URL(page, import.meta.url)), page);
  }
});

test('a reason for which an importer other than KVM can be rejected has a remedy for a private buffer', () => {
  for (const { name, private_remedy: remedy } of EXPLANATIONS) {
    if (['no_peer_to_peer', 'not_revocable', 'topology', 'revoked'].includes(name))
      assert.match(remedy ?? '', /^Do not look for another importer: only KVM/, name);
    if (['vm_mismatch', 'foreign_vm', 'flr', 'not_a_dmabuf'].includes(name)) assert.equal(remedy, null, name);
  }
});

test('the sources of the probes set a reason at each stage of the stream', () => {
  const stages = [...new Set(PROBE_REASONS.map(({ stage }) => stage))].sort();
  assert.deepEqual(stages, [...STAGES.slice(1), 'export', 'private_read'].sort());
  assert.ok(PRINTED.length > 50, `only ${PRINTED.length}`);
});

test('exactly the reasons that no probe prints are in UNPRINTED', () => {
  const printed = new Set(PROBE_REASONS.map(({ name }) => name));
  const unprinted = REASONS.filter((name) => name !== 'none' && !printed.has(name));
  assert.deepEqual([...UNPRINTED].sort(), unprinted.sort(), 'UNPRINTED of server/src/reference/catalogue.ts');
  assert.equal(explain('no_peer_to_peer')?.printed, true);
});

function found(text: string) {
  return findExplanations(text).map(({ name }) => name);
}

for (const [text, name] of [
  ['IOMMU_IOAS_MAP failed: Bad address, PCI BAR?', 'bar_by_address'],
  [
    'time="2026-06-23T10:48:05Z" level=warning msg="qemu-system-x86_64: IOMMU_IOAS_MAP failed: Bad address, PCI BAR?" pid=24799',
    'bar_by_address',
  ],
  ['0000:81:00.0: PCI peer-to-peer transactions on BARs are not supported.', 'bar_by_address'],
  [
    'qemu: warning: vfio_container_dma_map(0x5555, 0xfa800000, 0x4000, 0x7788) = -14 (Bad address)',
    'bar_by_address',
  ],
  ['Failed to DMA map: failed to map an IOVA range to the IOAS: Bad address (os error 14)', 'bar_by_address'],
  ['NCCL WARN Call to ibv_reg_dmabuf_mr failed with error Operation not supported', 'not_revocable'],
  ['ibv_reg_dmabuf_mr', 'not_revocable'],
  ['NCCL_IB_DATA_DIRECT=1', 'not_revocable'],
  ['data direct', 'not_revocable'],
  ['drmPrimeFDToHandle', 'no_peer_to_peer'],
  ['dma-buf unavailable, using mmap fallback, P2P DMA will not work', 'unaligned'],
  ['vfio_pci_core_map_bars', 'bar_unavailable'],
] as const) {
  test(`the text ${JSON.stringify(text)} finds ${name}`, () => {
    assert.ok(found(text).includes(name), found(text).join(', '));
    assert.ok(found(text).length < 12, 'the text must not find everything');
  });
}

test('an errno, by name or message, finds every entry with a rule that has it', () => {
  for (const [text, errno] of [
    ['ENODEV', 'ENODEV'],
    ['No such device', 'ENODEV'],
    ['EFAULT', 'EFAULT'],
    ['invalid argument', 'EINVAL'],
  ] as const) {
    const withErrno = EXPLANATIONS.filter(({ rules }) => rules.some((rule) => rule.errno === errno));
    assert.ok(withErrno.length > 1);
    for (const { name } of withErrno) assert.ok(found(text).includes(name), `${text}: ${name}`);
    assert.ok(!found(text).includes('other'), 'a rule of any errno does not match');
  }
  assert.ok(found('ENODEV').includes('born_revoked'), 'an entry whose sentence names the errno');
  for (const errno of EXPLANATIONS.flatMap(({ rules }) => rules.map((rule) => rule.errno ?? 'ERESTARTSYS')))
    assert.ok(errno === 'ERESTARTSYS' || errno in ERRNO_MESSAGES, errno);
});

test('a log line that names another errno does not find the entry', () => {
  assert.deepEqual(found('IOMMU_IOAS_MAP failed: Invalid argument, PCI BAR?'), []);
  assert.ok(found('ibv_reg_dmabuf_mr: Invalid argument').includes('pin_rejected'));
  assert.ok(!found('ibv_reg_dmabuf_mr: No such device').includes('pin_rejected'));
});

test('a stage finds the entries that can occur at it, and an alert those with its runbook', () => {
  for (const stage of ['map', 'pin', 'ioas_map'])
    assert.deepEqual(
      found(stage),
      EXPLANATIONS.filter(({ stages }) => (stages as string[]).includes(stage)).map(({ name }) => name),
    );
  assert.ok(found('kvm').includes('not_private'));
  assert.deepEqual(found('VfioDmabufLostMappings'), ['mappings_lost']);
});

test('an unknown text, a part of a word and a very short text find nothing', () => {
  for (const text of ['', '?!', 'io', 'no_range', 'ibv_reg', 'an unknown text'])
    assert.deepEqual(found(text), [], text);
});

test('a BAR by address has no remedy of a private buffer, because there is no buffer', () => {
  const entry = explain('bar_by_address');
  assert.deepEqual([entry?.topic, entry?.stages, entry?.private_remedy], ['reason', ['ioas_map'], null]);
});

test('the remedy of not_revocable is to disable Data Direct, not to use on-demand paging', () => {
  const { remedy = '' } = explain('not_revocable') ?? {};
  assert.match(remedy, /NCCL_IB_DATA_DIRECT=0/);
  assert.match(remedy, /On-demand paging does not help/);
});

test('bar_unavailable names both functions that map a BAR', () => {
  const functions = explain('bar_unavailable')?.rules.map((rule) => rule.function);
  for (const name of ['vfio_pci_core_setup_barmap', 'vfio_pci_core_map_bars'])
    assert.ok(functions?.includes(name), name);
});

test('each reason that a probe can set at a stage with an errno has a rule', () => {
  assert.deepEqual(
    PRINTED.filter((kind) => !RULES.includes(kind)),
    [],
  );
});

test('each rule has a reason that a probe can set at its stage with its errno', () => {
  assert.deepEqual(
    RULES.filter((kind) => !PRINTED.includes(kind) && !INSIDE_BIND.includes(kind)),
    [],
  );
});

test('a cause has a rule for each function from which the revoke probe deduces it', () => {
  const text = FRAGMENTS.probes.find(({ name }) => name === 'revoke')?.text ?? '';
  const hooks = [
    ...text.matchAll(/^kprobe:\{\{fn:(\w+)\}\} \{\s+(?:\$task = [^;]+;\s+)?@cause\[[^=]+= CAUSE_(\w+)/gm),
  ];
  assert.ok(hooks.length > 6, `only ${hooks.length}`);
  for (const [, fn = '', cause = ''] of hooks) {
    const functions = explain(cause.toLowerCase())?.rules.map((rule) => rule.function) ?? [];
    assert.ok(functions.includes(fn), `${cause}: ${fn}`);
  }
  const causes = new Set(
    [...text.matchAll(/@cause\[[^\]]+\] = CAUSE_(\w+)/g)].map(([, cause = '']) => cause.toLowerCase()),
  );
  assert.deepEqual([...causes, 'unknown'].sort(), [...CAUSES].sort());
});
