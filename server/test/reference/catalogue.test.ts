import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadFragments } from '../../src/collector/bpftrace/fragment.ts';
import { errnoName } from '../../src/model/errno.ts';
import { EXPLANATIONS, explain, UNPRINTED } from '../../src/reference/catalogue.ts';
import { CAUSES, REASONS, STAGES, VIOLATIONS } from '../../src/stream/codes.ts';
import { probesDirectory } from '../../src/support/probes-directory.ts';
import { type Told, toldBy } from './told.ts';

const FRAGMENTS = await loadFragments(probesDirectory());
const TOLD = toldBy(FRAGMENTS);

/** `attach EOPNOTSUPP not_revocable`; `any` is an errno that the probe does not look at, or none. */
const kindsOf = ({ step, name, errnos }: Told): string[] =>
  errnos.length === 0
    ? [`${step} any ${name}`]
    : errnos.map((errno) => `${step} ${errno === 512 ? 'ERESTARTSYS' : errnoName(errno)} ${name}`);

const PRINTED = [...new Set(TOLD.flatMap(kindsOf))].sort();
const RULES = [
  ...new Set(
    EXPLANATIONS.filter(({ topic }) => topic !== 'cause').flatMap(({ name, rules }) =>
      rules.map(({ step, errno }) => `${step} ${errno ?? 'any'} ${name}`),
    ),
  ),
].sort();

test('each reason, violation and cause of the wire has one entry, and its name is nobody else’s', () => {
  const wanted = [...REASONS, ...VIOLATIONS, ...CAUSES].filter((name) => name !== 'none');
  assert.deepEqual(EXPLANATIONS.map(({ name }) => name).sort(), wanted.sort());
  assert.equal(new Set(wanted).size, wanted.length);
});

for (const { name, topic, what, rules, remedy, docs } of EXPLANATIONS) {
  test(`the entry of the ${topic} ${name} is complete`, () => {
    assert.match(what, /^([A-Z]|iommufd).{20,}\.$/);
    assert.match(remedy, /^[A-Z].{20,}\.$/s);
    assert.notEqual(rules.length, 0);
    for (const rule of rules) {
      assert.match(rule.file, /^(drivers|virt|net|include)\/[a-z0-9_/-]+\.[ch]$/);
      assert.match(rule.function, /^[a-z_0-9]+$/);
      assert.match(rule.since, /^(\d\.\d+|private-v[12](, private-v2)?)$/);
      assert.match(rule.until ?? '7.0', /^\d\.\d+$/);
      assert.match(rule.errno ?? 'EINVAL', /^E[A-Z]+$/);
      assert.ok(rule.check.length > 10 && !rule.check.endsWith('.'), rule.check);
      if (topic === 'cause') assert.equal(rule.step, 'revoke');
    }
    assert.equal(docs, `docs/reasons.md#${name}`);
  });
}

test('the probes’ sources are read: each step of the wire is told of', () => {
  const steps = [...new Set(TOLD.map(({ step }) => step))].sort();
  assert.deepEqual(steps, [...STAGES.slice(1), 'export', 'private_read'].sort());
  assert.ok(PRINTED.length > 50, `only ${PRINTED.length}`);
});

test('a reason that no probe prints says so, and no other does', () => {
  const printed = new Set(TOLD.map(({ name }) => name));
  const silent = REASONS.filter((name) => name !== 'none' && !printed.has(name));
  assert.deepEqual([...UNPRINTED].sort(), silent.sort(), 'UNPRINTED of server/src/reference/catalogue.ts');
  assert.equal(explain('no_peer_to_peer')?.printed, true);
});

test('what a probe can tell at a step, with an errno, has a rule', () => {
  assert.deepEqual(
    PRINTED.filter((kind) => !RULES.includes(kind)),
    [],
  );
});

test('a rule is of what some probe can tell at its step, with its errno', () => {
  assert.deepEqual(
    RULES.filter((kind) => !PRINTED.includes(kind)),
    [],
  );
});

test('a cause has a rule for each function that the probe of revocations takes for it', () => {
  const text = FRAGMENTS.probes.find(({ name }) => name === 'revoke')?.text ?? '';
  const hooks = [...text.matchAll(/^kprobe:\{\{fn:(\w+)\}\} \{\s+@cause\[[^=]+= \{\{cause\.(\w+)\}\}/gm)];
  assert.ok(hooks.length > 6, `only ${hooks.length}`);
  for (const [, fn = '', cause = ''] of hooks) {
    const functions = explain(cause)?.rules.map((rule) => rule.function) ?? [];
    assert.ok(functions.includes(fn), `${cause}: ${fn}`);
  }
  const told = new Set(
    [...text.matchAll(/@cause\[[^\]]+\] = \{\{cause\.(\w+)\}\}/g)].map(([, cause]) => cause),
  );
  assert.deepEqual([...told, 'unknown'].sort(), [...CAUSES].sort());
});
