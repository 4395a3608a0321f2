import assert from 'node:assert/strict';
import { test } from 'node:test';
import { live, until } from './live-run.ts';

test('a snapshot that a reader of the stream requests is taken soon, and the next one only after the pause', async (t) => {
  let bootUs = 100_000_000;
  const run = await live(t, {
    mode: 'no-buffers',
    timing: { spacingMs: { start: 0, gap: 0, loss: 30_000, owner_exit: 10 } },
    clock: { wallMs: () => 0, bootUs: () => bootUs, sleep: (ms, signal) => pause(Math.min(ms, 10), signal) },
  });
  const causes = (): string[] => run.snapshots().map(({ cause }) => cause);
  await until(() => causes().length === 1);
  run.requestSnapshot();
  await until(() => causes().length === 2);
  run.requestSnapshot();
  run.requestSnapshot();
  // The scheduler looks many times while these lines arrive.
  const before = run.lines.length;
  await until(() => run.lines.length > before + 30);
  assert.deepEqual(causes(), ['start', 'loss']);
  bootUs += 30_000_000;
  await until(() => causes().length === 3);
  assert.deepEqual(causes(), ['start', 'loss', 'loss']);
});

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
