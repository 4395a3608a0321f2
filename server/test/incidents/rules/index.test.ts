import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadFragments } from '../../../src/bpftrace/compiler/fragment.ts';
import { INCIDENT_KINDS } from '../../../src/contract/incidents.ts';
import { INCIDENT_RULES } from '../../../src/incidents/rules/index.ts';
import { probesDirectory } from '../../../src/lib/probes-directory.ts';

const SOURCE = new URL('../../../src/incidents/', import.meta.url);
const PAGE = readFileSync(new URL('../../../../docs/incidents.md', import.meta.url), 'utf8');

test('docs/incidents.md names exactly the kinds that a snapshot confirms', () => {
  const [, sentence = ''] = /these\s+kinds\s+are\s+exact\s+again:\s+([^.]+)\./.exec(PAGE) ?? [];
  const confirmed = INCIDENT_KINDS.filter((kind) => INCIDENT_RULES[kind].confirmedBySnapshot);
  assert.deepEqual(
    [...sentence.matchAll(/`(\w+)`/g)].map(([, kind]) => kind),
    confirmed,
  );
});

test('each probe that a rule needs exists', async () => {
  const { probes } = await loadFragments(probesDirectory());
  const names = new Set(probes.map(({ name }) => name));
  for (const kind of INCIDENT_KINDS) {
    for (const probe of INCIDENT_RULES[kind].probes) assert.ok(names.has(probe), `${kind}: ${probe}`);
  }
});

test('engine, store and view know no kind by its name', () => {
  for (const file of ['engine.ts', 'store.ts', 'view.ts']) {
    const text = readFileSync(new URL(file, SOURCE), 'utf8');
    for (const kind of INCIDENT_KINDS) assert.doesNotMatch(text, new RegExp(`['.]${kind}\\b`), file);
  }
});
