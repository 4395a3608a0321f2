import { type ChildProcess, spawn } from 'node:child_process';
import { errnoOf, isOutOfResources } from '../lib/errno.ts';
import { endOf, killGroup, type ProcessEnd } from './process-group.ts';

export interface CommandOptions {
  /** PATH of the command. No other variable of this process is passed on. */
  searchPath: string;
  /** Longest run time, in milliseconds. After that the process group is killed. */
  timeoutMs: number;
}

export interface CommandResult extends ProcessEnd {
  /** The first OUTPUT_CHARS characters of each stream. */
  stdout: string;
  stderr: string;
  timedOut: boolean;
}

const OUTPUT_CHARS = 4096;

/**
 * Runs a helper command in a separate process group, with a clean environment, without input, with a time limit. Never
 * rejects.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  { searchPath, timeoutMs }: CommandOptions,
): Promise<CommandResult> {
  const output = { stdout: '', stderr: '' };
  let timedOut = false;
  let child: ChildProcess;
  try {
    child = spawn(command, args, {
      env: { PATH: searchPath, LC_ALL: 'C' },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    return { ...output, timedOut, code: null, signal: null, error: error as NodeJS.ErrnoException };
  }
  const ended = endOf(child);
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8');
    child[name]?.on('data', (text: string) => {
      output[name] = (output[name] + text).slice(0, OUTPUT_CHARS);
    });
  }
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child);
  }, timeoutMs);
  const end = await ended;
  clearTimeout(timer);
  return { ...output, ...end, timedOut };
}

/**
 * Why a command failed, for people: exit code or signal, and the first lines of its output. Null if it exited with 0.
 */
export function failureOf(result: CommandResult, timeoutMs: number): string | null {
  const { error, timedOut, signal, code, stderr, stdout } = result;
  if (error !== null) return `it could not be started: ${error.message}`;
  if (timedOut) return `it did not end within ${timeoutMs / 1000} s`;
  if (signal === null && code === 0) return null;
  const text = (stderr.trim() || stdout.trim()).split('\n').slice(0, 3).join(' ').slice(0, 400);
  const how = signal !== null ? `it was killed by ${signal}` : `it exited with ${code}`;
  return text === '' ? how : `${how}: ${text}`;
}

/** Whether a retry may succeed, because the host ran out of descriptors, processes or memory. */
export function mayRunLater({ error }: CommandResult): boolean {
  return error !== null && isOutOfResources(errnoOf(error));
}
