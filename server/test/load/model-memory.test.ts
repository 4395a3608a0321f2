import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { TracerModel } from '../../src/model/model.ts';
import { decodeLine } from '../../src/stream/decode.ts';
import { manyVms } from '../fixtures/many-vms.ts';

const VMS = 5000;
/**
 * What the model holds after a collection may grow by so much while eight times as many VMs come and go: 200 bytes kept of each
 * VM are more. The same VMs give 15 to 19 MB, as the tables of V8 grow and shrink by halves.
 */
const HEAP_RATIO = 1.4;

/** Bytes that a model holds after so many VMs, when all that can be collected is. */
function heldAfter(vms: number): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const model = new TracerModel({ version: 'test', source: { kind: 'replay', name: 'test' } });
  collect();
  const before = process.memoryUsage().heapUsed;
  for (const line of manyVms({ vms })) model.apply(decodeLine(line));
  collect();
  const held = process.memoryUsage().heapUsed - before;
  assert.ok(model.revision > vms);
  return held;
}

test('the model holds no more after eight times as many VMs', (t) => {
  const ratio = heldAfter(8 * VMS) / heldAfter(VMS);
  t.diagnostic(`heap of the model after ${8 * VMS} VMs to that after ${VMS}: ${ratio.toFixed(2)}`);
  assert.ok(ratio <= HEAP_RATIO, String(ratio));
});
