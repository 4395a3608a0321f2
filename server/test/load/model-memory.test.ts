import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { decodeLine } from '../../src/protocol/decode.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { manyVms } from '../fixtures/many-vms.ts';

const VMS = 5000;
/**
 * The highest ratio of the model's memory after eight times as many VMs to that before, after garbage collections. A leak of 200
 * bytes per VM exceeds it. The same VMs need 15 to 19 MB, because V8 grows and shrinks its tables by halves.
 */
const HEAP_RATIO = 1.4;

/** Bytes that a model needs after this number of VMs and a garbage collection. */
function bytesAfter(vms: number): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const model = new TracerModel({ version: 'test', source: { kind: 'replay', name: 'test' } });
  collect();
  const before = process.memoryUsage().heapUsed;
  for (const line of manyVms({ vms })) model.apply(decodeLine(line));
  collect();
  const bytes = process.memoryUsage().heapUsed - before;
  assert.ok(model.revision > vms);
  return bytes;
}

test('the model does not need more memory after eight times as many VMs', (t) => {
  const ratio = bytesAfter(8 * VMS) / bytesAfter(VMS);
  t.diagnostic(`heap of the model after ${8 * VMS} VMs to that after ${VMS}: ${ratio.toFixed(2)}`);
  assert.ok(ratio <= HEAP_RATIO, String(ratio));
});
