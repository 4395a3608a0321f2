import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { MapName } from '../../server/src/protocol/declared.ts';
import { MAPS } from '../../server/src/protocol/maps.ts';
import { ACCOUNTING_PAGE, accountingPage } from '../accounting-page.ts';
import { bytesOfMap, kernelMaps } from '../capacity-table.ts';

test('the computed memory of a map matches memlock in fdinfo (Linux 6.18, 2 CPUs)', () => {
  for (const [perCpu, parts, keys, memlock] of [
    [true, 1, 4096, 394_112],
    [true, 5, 4096, 525_184],
    [true, 7, 4096, 590_720],
    [true, 7, 16_384, 2_360_192],
    [true, 7, 1000, 145_280],
    [false, 1, 4096, 328_720],
    [false, 1, 1000, 81_424],
  ] as const) {
    const rest = memlock - bytesOfMap({ name: 'any', parts, numbers: 1, perCpu }, keys, 2);
    // The rest is the map itself, which has a fixed size.
    assert.ok(rest === (perCpu ? 896 : 912), `${parts} parts, ${keys} keys: a difference of ${rest} bytes`);
  }
});

test('the table has the maps of the composed program, with the keys that the server reads', async () => {
  const maps = await kernelMaps();
  const counters = maps.filter(({ perCpu }) => perCpu);
  assert.deepEqual(
    counters.map(({ name }) => name).sort(),
    Object.keys(MAPS)
      .filter((name) => name !== 'emitted')
      .sort(),
  );
  for (const { name, parts } of counters)
    assert.equal(parts, Math.max(1, MAPS[name as MapName].key.length), name);
  assert.deepEqual(
    maps.find(({ name }) => name === 'import_call'),
    { name: 'import_call', parts: 1, numbers: 2, perCpu: false },
  );
});

test('docs/accounting.md has the tables of `npm run capacity`; `npm run docs` writes them', async () => {
  assert.equal(readFileSync(ACCOUNTING_PAGE, 'utf8'), await accountingPage());
});
