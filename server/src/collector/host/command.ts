import { type ChildProcess, spawn } from 'node:child_process';
import { errnoOf, isOutOfResources } from '../../support/errno.ts';
import { endOf, killGroup, type ProcessEnd } from './process-group.ts';

export interface CommandOptions {
  /** PATH of the command; the rest of this process's environment is not passed on. */
  searchPath: string;
  /** Longest time that it may run, in milliseconds; then it is killed with its process group. */
  timeoutMs: number;
}

export interface CommandResult extends ProcessEnd {
  /** The beginning of its output, at most OUTPUT_CHARS characters each. */
  stdout: string;
  stderr: string;
  timedOut: boolean;
}

const OUTPUT_CHARS = 4096;

/** Runs a helper command with a clean environment, no input, a time limit and a process group of its own. Never rejects. */
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

/** Why a command did not do its work, in words with its exit code or signal and what it wrote; null where it exited with 0. */
export function failureOf(result: CommandResult, timeoutMs: number): string | null {
  const { error, timedOut, signal, code, stderr, stdout } = result;
  if (error !== null) return `it could not be started: ${error.message}`;
  if (timedOut) return `it did not answer within ${timeoutMs / 1000} s`;
  if (signal === null && code === 0) return null;
  const text = (stderr.trim() || stdout.trim()).split('\n').slice(0, 3).join(' ').slice(0, 400);
  const how = signal !== null ? `it was killed by ${signal}` : `it exited with ${code}`;
  return text === '' ? how : `${how}: ${text}`;
}

/** Whether a later try may succeed, because only descriptors, processes or memory were used up. */
export function mayRunLater({ error }: CommandResult): boolean {
  return error !== null && isOutOfResources(errnoOf(error));
}
