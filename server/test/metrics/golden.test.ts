import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Catalogue } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import { feed } from '../fixtures/feed.ts';
import { PRIVATE_VM } from '../fixtures/golden/private-vm.ts';
import { parseExposition } from '../fixtures/parse-exposition.ts';

const GOLDEN = new URL('../fixtures/golden/private-vm.prom', import.meta.url);

function catalogue() {
  return new Catalogue({ model: feed(PRIVATE_VM).model, processMetrics: false });
}

test('the metrics of the stream of a private VM are byte for byte those of the golden file', async () => {
  const text = await renderMetrics(catalogue(), 'text');
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(GOLDEN, text);
  assert.equal(text, readFileSync(GOLDEN, 'utf8'));
});

test('both formats have the same samples', async () => {
  const source = catalogue();
  const text = parseExposition(await renderMetrics(source, 'text'), 'text');
  const open = parseExposition(await renderMetrics(source, 'openmetrics'), 'openmetrics');
  const samples = (families: typeof text) =>
    families.flatMap(({ samples }) => samples).map(({ name, labels, value }) => ({ name, labels, value }));
  assert.deepEqual(samples(open), samples(text));
});
