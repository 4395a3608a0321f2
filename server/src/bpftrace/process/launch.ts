import { failureOf, mayRunLater, runCommand } from '../../host/command.ts';
import { findExecutable } from '../installed.ts';

/** How bpftrace is started: the part that is the same for all children. */
export interface Launch {
  /** Path of bpftrace. */
  path: string;
  /** Command that starts bpftrace, so that the kernel kills bpftrace when this process dies; may be empty. */
  guard: readonly string[];
  env: NodeJS.ProcessEnv;
}

/** Environment variables that bpftrace gets. Others may contain secrets. */
const PASSED_ON = /^(?:PATH|HOME|TMPDIR|BPFTRACE_\w+)$/;

/**
 * Settings in the environment, which all versions of bpftrace read. The ring buffer of 16 MiB is the default of later
 * versions.
 */
export function childEnvironment(env: NodeJS.ProcessEnv, mapKeys: number): NodeJS.ProcessEnv {
  const passed = Object.entries(env).filter(([name]) => PASSED_ON.test(name));
  return {
    ...Object.fromEntries(passed),
    LC_ALL: 'C',
    BPFTRACE_COLOR: 'never',
    BPFTRACE_MAX_MAP_KEYS: String(mapKeys),
    BPFTRACE_MAX_STRLEN: '64',
    BPFTRACE_PERF_RB_PAGES: '4096',
  };
}

const GUARD_TIMEOUT_MS = 10_000;

/** A command that starts a child, or the reason why there is none. */
export interface Guard {
  /**
   * Empty if there is none. After this process dies, a child then ends by SIGPIPE at its next print, within a second.
   */
  command: readonly string[];
  /** Why it cannot be used; null if it can. */
  problem: string | null;
  /** False if it could not be tried now; a retry may succeed. */
  final: boolean;
}

/**
 * Finds a command that makes the kernel kill a child when this process dies, even by SIGKILL (busybox's setpriv
 * cannot).
 */
export async function findGuard(searchPath: string): Promise<Guard> {
  const none = (problem: string, final = true): Guard => ({ command: [], problem, final });
  const setpriv = await findExecutable('setpriv', searchPath);
  if (setpriv === null) return none('setpriv is not installed');
  const command = [setpriv, '--pdeathsig', 'KILL', '--'];
  const args = [...command.slice(1), setpriv, '--version'];
  const result = await runCommand(setpriv, args, { searchPath, timeoutMs: GUARD_TIMEOUT_MS });
  const failure = failureOf(result, GUARD_TIMEOUT_MS);
  if (failure === null) return { command, problem: null, final: true };
  return none(`${setpriv} --pdeathsig cannot be used: ${failure}`, !mayRunLater(result));
}
