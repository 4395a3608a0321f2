import { decodeLine } from '../../src/protocol/decode.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { manyVms } from '../fixtures/many-vms.ts';

/**
 * Prints the lines per second of the decoder and the model, next to JSON.parse of the same lines in the same run. Only the ratio can
 * be compared between machines.
 */

const VMS = 5000;
const ROUNDS = 5;
const lines = [...manyVms({ vms: VMS })];

function parse(): void {
  for (const line of lines) JSON.parse(line);
}
function decode(): void {
  for (const line of lines) decodeLine(line);
}
function whole(): void {
  const model = new TracerModel({ version: 'bench', source: { kind: 'replay', name: 'bench' } });
  for (const line of lines) model.apply(decodeLine(line));
}

/** Seconds of the fastest round. */
const fastest = new Map<string, number>();
for (let round = 0; round < ROUNDS; round += 1) {
  for (const work of [parse, decode, whole]) {
    const begin = performance.now();
    work();
    const seconds = (performance.now() - begin) / 1000;
    fastest.set(work.name, Math.min(seconds, fastest.get(work.name) ?? seconds));
  }
}
const peer = fastest.get('parse') ?? 0;
const labels: Record<string, string> = {
  parse: 'JSON.parse',
  decode: 'decode',
  whole: 'decode and model',
};
console.log(`${lines.length} lines of ${VMS} VMs, the fastest of ${ROUNDS} rounds`);
for (const [name, seconds] of fastest) {
  const rate = Math.round(lines.length / seconds).toLocaleString('en-US');
  console.log(
    `${(labels[name] ?? name).padEnd(17)} ${rate.padStart(12)} lines/s  ${(seconds / peer).toFixed(2)} x JSON.parse`,
  );
}
