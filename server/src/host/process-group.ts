import type { ChildProcess } from 'node:child_process';

/** How a process ended. If it could not be started, `error` is set, and `code` and `signal` are null. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  error: NodeJS.ErrnoException | null;
}

/**
 * How long the pipes of an ended process are read, in milliseconds: a process outside of the group may keep them open.
 */
const PIPES_MS = 2000;

/**
 * Resolves when a process that was spawned with `detached` has ended and its output was read. Kills the rest of its
 * process group when it has ended. To be called before the streams are used: without free descriptors, `spawn` returns
 * a child without streams and emits the error later. Never rejects.
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

/** Kills a process that was spawned with `detached`, and all processes in its group. */
export function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: the group is empty.
  }
}
