import { decodeLine } from '../../src/protocol/decode.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { FLOODS, flood } from '../fixtures/floods.ts';

/** Prints how much longer a line takes when ten times as much is kept. The ratio is 1.0 if the work per line is constant. */

const COUNT = Number(process.argv[2] ?? 4000);
const ROUNDS = 2;

function secondsPerLine(name: string, count: number): number {
  const lines = [...flood(name, count)];
  let fastest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round += 1) {
    const model = new TracerModel({ version: 'bench', source: { kind: 'replay', name: 'bench' } });
    const begin = performance.now();
    for (const line of lines) model.apply(decodeLine(line));
    fastest = Math.min(fastest, performance.now() - begin);
  }
  return fastest / 1000 / lines.length;
}

console.log(`time of a line at ${10 * COUNT} to that at ${COUNT}`);
for (const name of Object.keys(FLOODS)) {
  const few = secondsPerLine(name, COUNT);
  const many = secondsPerLine(name, 10 * COUNT);
  console.log(`${(many / few).toFixed(2).padStart(6)}  ${name} (${(many * 1e6).toFixed(1)} us)`);
}
