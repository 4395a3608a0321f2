import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Catalogue } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import { decodeLine } from '../../src/protocol/decode.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { FLOODS, flood } from '../fixtures/floods.ts';

const FEW = 1000;
const MANY = 10 * FEW;
/** The time of a line does not depend on the kept state. Work that grows with the state would take ten times as long. */
const RATIO = 4;
const ROUNDS = 3;

function replay(lines: readonly string[]): TracerModel {
  const model = new TracerModel({ version: 'test', source: { kind: 'replay', name: 'flood' } });
  for (const line of lines) model.apply(decodeLine(line));
  return model;
}

/** Processor time of the fastest round in microseconds. It does not include other programs on the machine. */
async function fastest(work: () => unknown): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round += 1) {
    const begin = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(begin);
    least = Math.min(least, user + system);
  }
  return least;
}

for (const name of Object.keys(FLOODS)) {
  test(`a line does not take longer when ten times as much is kept: ${name}`, async (t) => {
    const few = [...flood(name, FEW)];
    const many = [...flood(name, MANY)];
    // Both have the same number of lines, so that the compiler and the garbage collector do not favor one.
    const times = Math.round(many.length / few.length);
    const before = await fastest(() => {
      for (let time = 0; time < times; time += 1) replay(few);
    });
    const ratio = (await fastest(() => replay(many))) / before;
    t.diagnostic(`time of a line at ${MANY} to that at ${FEW}: ${ratio.toFixed(2)}`);
    assert.ok(ratio < RATIO, String(ratio));
  });
}

test('a scrape does not take longer with ten times as many buffers', async (t) => {
  const scrape = (count: number): Promise<number> => {
    const model = replay([
      ...flood('importers of one buffer', 10),
      ...flood('exports that are kept, each from a new process', count),
    ]);
    const catalogue = new Catalogue({ model, processMetrics: false });
    return fastest(async () => {
      for (let time = 0; time < 40; time += 1) await renderMetrics(catalogue, 'text');
    });
  };
  const ratio = (await scrape(MANY)) / (await scrape(FEW));
  t.diagnostic(`scrape of ${MANY} buffers to that of ${FEW}: ${ratio.toFixed(2)}`);
  assert.ok(ratio < RATIO, String(ratio));
});
