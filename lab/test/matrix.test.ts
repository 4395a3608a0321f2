import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CELLS, type Cell, EVERYDAY_CELLS, nameOf } from '../src/cells.ts';
import { type CellResult, pageOf, resultOf } from '../src/matrix.ts';
import { explainUnmet, isEveryday, SCENARIOS, SPOT_CHECKS, scenarioOn } from '../src/truth-table.ts';

const DOCS = join(import.meta.dirname, '../../docs');
function cell(kernel: Cell['kernel'], dialect: Cell['dialect']): Cell {
  return { kernel, suite: 'sid', dialect };
}

test('docs/kernels.md is generated from docs/kernels.json', () => {
  const results = JSON.parse(readFileSync(join(DOCS, 'kernels.json'), 'utf8')) as CellResult[];
  assert.equal(readFileSync(join(DOCS, 'kernels.md'), 'utf8'), pageOf(results));
});

test('every scenario runs on some cell, and has a reason for each cell on which it does not run', () => {
  for (const scenario of SCENARIOS) {
    const running = CELLS.filter((one) => scenarioOn(scenario, one) !== undefined);
    assert.notEqual(running.length, 0, scenario.name);
    for (const one of CELLS)
      assert.equal(
        explainUnmet(scenario, one) === undefined,
        running.includes(one),
        `${scenario.name} ${nameOf(one)}`,
      );
  }
});

test('a kernel that cannot export runs no scenario, and `legacy` runs those of mainline', () => {
  const [row] = SCENARIOS.filter(({ dialect }) => dialect === 'mainline');
  assert.ok(row !== undefined);
  assert.equal(explainUnmet(row, cell('6.12', 'mainline')), 'no VFIO dma-buf export');
  assert.equal(explainUnmet(row, cell('7.3', 'private-v1')), 'of mainline');
  assert.equal(scenarioOn(row, cell('7.2', 'legacy'))?.name, row.name);
});

test('no scenario on `legacy` expects a successful pin', () => {
  const pins = SCENARIOS.flatMap((row) => scenarioOn(row, cell('7.3', 'legacy')) ?? []).flatMap((row) => [
    ...row.events.filter((event) => event.kind === 'import' && event.stage === 'pin' && event.errno === 0),
    ...Object.keys(row.metrics).filter((key) => key.startsWith('imports_total') && key.includes('"pin"')),
  ]);
  assert.deepEqual(pins, []);
});

test('a result has the number of passed scenarios, the failed ones, and the number that cannot run by reason', () => {
  const result = resultOf({
    cell: cell('6.12', 'mainline'),
    release: '6.12.1',
    bpftrace: '0.27.1',
    passed: ['boot (untraced)', 'start (scenarios)', 'no-vfio-dmabuf'],
    failed: ['x'],
    lost: false,
    crashed: [],
    inexact: [],
  });
  assert.deepEqual(result, {
    kernel: '6.12',
    suite: 'sid',
    dialect: 'mainline',
    release: '6.12.1',
    bpftrace: '0.27.1',
    passed: 1,
    failed: ['x'],
    notApplicable: { 'no VFIO dma-buf export': SCENARIOS.length },
  });
  assert.match(pageOf([result]), /\| 6\.12\.1 +\| 0\.27\.1 +\| `mainline` +\| 1 +\| 1: x +\|/);
});

test('each probe fragment has a spot check, which is a scenario or null', () => {
  const fragments = readdirSync(join(import.meta.dirname, '../../probes'))
    .filter((name) => name.endsWith('.bt'))
    .map((name) => name.slice(0, -'.bt'.length));
  assert.deepEqual(Object.keys(SPOT_CHECKS).sort(), fragments.sort());
  const names = new Set(SCENARIOS.map(({ name }) => name));
  for (const name of Object.values(SPOT_CHECKS)) assert.ok(name === null || names.has(name), `${name}`);
});

test('`all` runs every scenario on some cell', () => {
  const running = EVERYDAY_CELLS.flatMap((cell) =>
    SCENARIOS.filter((scenario) => isEveryday(scenario, cell) && scenarioOn(scenario, cell) !== undefined),
  );
  assert.deepEqual(new Set(running), new Set(SCENARIOS));
});
