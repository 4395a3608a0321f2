import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksOf } from '../steps.ts';

const OK = '  12 s  ok      trixie/mainline: export-one-range: one range of a BAR (3.2 s)';
const FAILED =
  '  15 s  FAILED  trixie/mainline: import-vgem: vgem is rejected\nError: not rejected\n    at prove';

test('each result that the lab prints is a check, and other lines are ignored', () => {
  const output = `   1 s  booting\n${OK}\n        note\n${FAILED}\n  20 s  failed: import-vgem\nlab: 1 passed, 1 failed\n`;
  assert.deepEqual(checksOf({ name: 'lab', output }), [
    { title: 'trixie/mainline: export-one-range: one range of a BAR (3.2 s)', ok: true },
    { title: 'trixie/mainline: import-vgem: vgem is rejected', ok: false },
    { title: 'its summary (lab: 1 passed, 1 failed) matches its results (1 and 1)', ok: true },
  ]);
});

test('a scenario that ran again in another guest counts with its last result', () => {
  const again = OK.replace('12 s', '90 s').replace('3.2', '4.0');
  const lost = '  14 s  FAILED  trixie/mainline: export-one-range: one range of a BAR\nGuestError: no answer';
  const output = `${OK.replace('export-one-range', 'start')}\n${lost}\n${again.replace('export-one-range', 'start')}\n${again}\nlab: 2 passed, 0 failed\n`;
  assert.deepEqual(checksOf({ name: 'lab', output }), [
    { title: 'trixie/mainline: start: one range of a BAR (4.0 s)', ok: true },
    { title: 'trixie/mainline: export-one-range: one range of a BAR (4.0 s)', ok: true },
    { title: 'its summary (lab: 2 passed, 0 failed) matches its results (2 and 0)', ok: true },
  ]);
});

test('a check fails if the count of the lab is wrong or missing', () => {
  for (const output of [`${OK}\nlab: 2 passed, 0 failed\n`, `${OK}\n`, '']) {
    assert.equal(checksOf({ name: 'lab', output }).at(-1)?.ok, false, output);
  }
});

test('the output of the image needs no count', () => {
  assert.deepEqual(
    checksOf({ name: 'image', output: '  90 s  ok      --version\n  99 s  image: built and tested\n' }),
    [{ title: '--version', ok: true }],
  );
  assert.deepEqual(checksOf({ name: 'image', output: '' }), []);
});
