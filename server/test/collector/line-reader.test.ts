import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineReader } from '../../src/collector/line-reader.ts';
import { LiveBuffers } from '../../src/collector/live-buffers.ts';
import { LossCounts } from '../../src/collector/loss-counts.ts';
import { decodeLine } from '../../src/protocol/decode.ts';
import { bound, exported, imported } from '../fixtures/stream-lines.ts';

/** Whether the collector reports the end of the process (100 or 300) of this event. */
function reportsEnd(line: string): boolean {
  const seen: boolean[] = [];
  const reader = new LineReader({
    identities: {
      seeDevice: () => {},
      seeImporter: () => {},
      seeProcess: (pid, owner) => {
        if (pid === 100 || pid === 300) seen.push(owner);
      },
    },
    losses: new LossCounts({ emit: () => {}, onEventsLost: () => {} }),
    buffers: new LiveBuffers(),
  });
  reader.identify(decodeLine(line));
  return seen.at(-1) ?? false;
}

const REJECTED = { t: 1, inode: 0, stage: 'ioas_map', importer: 'iommu', errno: 14, device: 0x4100 } as const;

test('the end of a process is reported if it owns a buffer or a VM, or has mapped a BAR by its address', () => {
  assert.equal(reportsEnd(exported({ t: 1, inode: 9 })), true);
  assert.equal(reportsEnd(bound({ t: 1, inode: 9, vm: 300 })), true);
  assert.equal(reportsEnd(imported({ ...REJECTED, reason: 'bar_by_address' })), true);
});

test('the end of other processes is not reported', () => {
  assert.equal(reportsEnd(imported({ ...REJECTED, reason: 'bad_address', device: 0 })), false);
  assert.equal(reportsEnd(imported({ t: 1, inode: 9, stage: 'attach', importer: 'vgem' })), false);
});
