import { Worker } from 'node:worker_threads';

/**
 * Kills this process in `ms` milliseconds, also while its event loop is busy: a timer of the loop would wait for it. Returns
 * the way to call it off. The kernel then kills the children that were started with a parent death signal (launch.ts).
 */
export function killAfter(ms: number): () => void {
  const worker = new Worker(KILL, { eval: true, execArgv: [], workerData: ms });
  worker.unref();
  // Without a thread the deadline of the event loop is all that there is.
  worker.on('error', () => {});
  return () => {
    void worker.terminate();
  };
}

/** A thread has an event loop of its own, which nothing holds up. */
const KILL = `
  const { workerData } = require('node:worker_threads');
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), workerData);
`;
