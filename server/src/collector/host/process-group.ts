import type { ChildProcess } from 'node:child_process';

/** How a process ended. `error` is set where it could not be started at all; then `code` and `signal` are null. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  error: NodeJS.ErrnoException | null;
}

/** Something outside of the group may hold the pipes of a process that has ended; they are read for this long, in milliseconds. */
const PIPES_MS = 2000;

/**
 * Resolves when a process that was spawned with `detached` has ended and its output was read. What it has forked and left behind
 * in its group is killed then. To be called before the streams are used: where the table of open files is full, `spawn` gives
 * a child without streams and reports the error later. Never rejects.
 */
export function endOf(child: ChildProcess): Promise<ProcessEnd> {
  return new Promise((resolve) => {
    let error: NodeJS.ErrnoException | null = null;
    let pipes: NodeJS.Timeout | undefined;
    child.on('error', (cause) => {
      error ??= cause;
      if (child.pid === undefined) resolve({ code: null, signal: null, error });
    });
    child.on('exit', () => {
      killGroup(child);
      pipes = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, PIPES_MS);
    });
    child.on('close', (code, signal) => {
      clearTimeout(pipes);
      resolve({ code, signal, error: child.pid === undefined ? error : null });
    });
  });
}

/** Kills a process that was spawned with `detached`, and all that it has forked into its group. */
export function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: nobody is left in the group.
  }
}
