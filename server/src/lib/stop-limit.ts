import { Worker } from 'node:worker_threads';

/**
 * Kills this process after `ms` milliseconds, also if its event loop is blocked, when a timer would not fire. The
 * kernel then kills the children that have a parent death signal (launch.ts).
 * @returns a function that cancels it
 */
export function killAfter(ms: number): () => void {
  const worker = new Worker(KILL, { eval: true, execArgv: [], workerData: ms });
  worker.unref();
  // If the thread cannot start, only the caller's timer in the event loop limits the stop.
  worker.on('error', () => {});
  return () => {
    void worker.terminate();
  };
}

/** Runs in a thread, because it has a separate event loop, which the main thread cannot block. */
const KILL = `
  const { workerData } = require('node:worker_threads');
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), workerData);
`;
