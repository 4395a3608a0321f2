import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EXPLANATIONS, explain, UNPRINTED } from '../../src/reference/catalogue.ts';
import { CAUSES, REASONS, VIOLATIONS } from '../../src/stream/codes.ts';

const PROBES = fileURLToPath(new URL('../../../probes', import.meta.url));
const FRAGMENTS = readdirSync(PROBES, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.bt'))
  .map((file) => ({ file, text: readFileSync(join(PROBES, file), 'utf8') }));

/** The names that a program puts in as `{{KIND.NAME}}`, but for `none`. */
const named = (text: string, kind: string): string[] => {
  const names = [...text.matchAll(new RegExp(`\\{\\{${kind}\\.([a-z0-9_]+)\\}\\}`, 'g'))];
  return [...new Set(names.map(([, name = '']) => name))].filter((name) => name !== 'none');
};

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
      assert.match(rule.function, /^[a-z_0-9]+( REG_DMABUF_MR)?$/);
      assert.match(rule.since, /^(\d\.\d+|private-v[12](, private-v2)?)$/);
      assert.match(rule.until ?? '7.0', /^\d\.\d+$/);
      assert.match(rule.errno ?? 'EINVAL', /^E[A-Z]+$/);
      assert.ok(rule.check.length > 10 && !rule.check.endsWith('.'), rule.check);
      if (topic === 'reason' && name !== 'other') assert.notEqual(rule.errno, null);
      if (topic === 'cause') assert.equal(rule.step, 'revoke');
    }
    assert.equal(docs, `docs/reasons.md#${name}`);
  });
}

test('a reason that no probe prints says so, and no other does', () => {
  const printed = FRAGMENTS.flatMap(({ text }) => named(text, 'reason'));
  assert.ok(printed.length > 20);
  const silent = REASONS.filter((name) => name !== 'none' && !printed.includes(name));
  assert.deepEqual([...UNPRINTED].sort(), silent.sort(), 'UNPRINTED of server/src/reference/catalogue.ts');
  assert.equal(explain('no_peer_to_peer')?.printed, true);
});

test('the steps of an entry are those of the probes that print it', () => {
  const emits: Record<string, string> = { export: 'export', private_read: 'private_read' };
  for (const { file, text } of FRAGMENTS) {
    const tag = /^\/\/ emits: (\w+)$/m.exec(text)?.[1] ?? '';
    const steps = emits[tag] === undefined ? named(text, 'stage') : [emits[tag]];
    // One that tells of several steps does not say which reason belongs to which.
    const [step] = steps;
    if (steps.length !== 1 || step === undefined) continue;
    for (const name of named(text, 'reason')) {
      const known: readonly string[] = explain(name)?.steps ?? [];
      assert.ok(known.includes(step), `${file} prints ${name} at ${step}; its entry has ${known.join(', ')}`);
    }
  }
});

test('a cause has a rule for each function that the probe of revocations takes for it', () => {
  const text = FRAGMENTS.find(({ file }) => file === 'revoke.bt')?.text ?? '';
  const hooks = [...text.matchAll(/^kprobe:\{\{fn:(\w+)\}\} \{ @cause\[[^=]+= \{\{cause\.(\w+)\}\}/gm)];
  assert.ok(hooks.length > 5);
  for (const [, fn = '', cause = ''] of hooks) {
    const functions = explain(cause)?.rules.map((rule) => rule.function) ?? [];
    assert.ok(functions.includes(fn), `${cause}: ${fn}`);
  }
});
