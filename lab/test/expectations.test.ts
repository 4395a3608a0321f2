import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COUNTERS, HISTOGRAMS } from '../../server/src/model/counters.ts';
import { SCENARIOS } from '../src/truth-table.ts';

/** The labels of each family, in alphabetical order as in the key of a sample. */
const LABELS: ReadonlyMap<string, string> = new Map(
  [
    ...Object.entries(COUNTERS).map(([name, labels]) => [`${name}_total`, labels] as const),
    ...Object.entries(HISTOGRAMS).map(([name, labels]) => [`${name}_seconds_count`, labels] as const),
    ['incidents_total', ['kind']] as const,
  ].map(([name, labels]) => [name, [...labels].sort().join()]),
);

const expected = SCENARIOS.flatMap(({ name, dialect, metrics }) =>
  Object.keys(metrics).map((key) => {
    const [, family = '', list = ''] = /^(\w+)(?:\{(.*)\})?$/.exec(key) ?? [];
    const labels = [...list.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', value = '']) => [label, value]);
    return { where: `${name}: ${key}`, dialect, family, labels: Object.fromEntries(labels) };
  }),
);

test('scenarios expect samples with the labels that the program serves', () => {
  for (const { where, family, labels } of expected)
    assert.equal(Object.keys(labels).join(), LABELS.get(family), where);
});

test('scenarios expect the privacy of an import only on a kernel that stores it, and else `undeclared`', () => {
  const imports = expected.filter(({ labels }) => 'privacy' in labels && 'importer' in labels);
  assert.ok(imports.length > 50);
  for (const { where, dialect, labels } of imports) {
    const isKept = dialect === 'private-v1' && labels.device !== 'unknown';
    assert.match(labels.privacy ?? '', isKept ? /^(private|shared)$/ : /^undeclared$/, where);
  }
  assert.ok(imports.some(({ labels }) => labels.privacy === 'shared'));
  assert.ok(imports.some(({ labels }) => labels.device === 'unknown'));
});
