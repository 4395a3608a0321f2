import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { pageBytes } from '../../src/host/page-size.ts';

function auxv(...values: bigint[]): Buffer {
  return Buffer.from(BigUint64Array.from(values).buffer);
}

test('the page size is the one in the auxiliary vector of this process', () => {
  assert.equal(pageBytes(), Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })));
  assert.equal(pageBytes(auxv(33n, 4096n, 6n, 16_384n, 0n, 0n)), 16_384);
  assert.equal(pageBytes(auxv(6n, 65_536n, 0n, 0n)), 65_536);
});

test('an auxiliary vector without a page size is an error', () => {
  assert.throws(() => pageBytes(auxv(33n, 4096n, 0n, 0n)), /has no page size/);
  assert.throws(() => pageBytes(Buffer.alloc(0)), /has no page size/);
});
