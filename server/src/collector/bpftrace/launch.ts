import { failureOf, mayRunLater, runCommand } from '../host/command.ts';
import { findExecutable } from './version.ts';

/** How bpftrace is started, whatever its program: everything that is the same for all children. */
export interface Launch {
  /** Path of bpftrace. */
  path: string;
  /** Command that bpftrace is started through, so that it dies with this process; may be empty. */
  guard: readonly string[];
  env: NodeJS.ProcessEnv;
}

/** Variables of ours that bpftrace may see; the rest may hold what is not its business. */
const PASSED_ON = /^(?:PATH|HOME|TMPDIR|BPFTRACE_\w+)$/;

/** Settings of bpftrace by the one way that all versions read; the ring of 16 MiB is the default of later versions. */
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

/** A command to start a child through, and why there is none. */
export interface Guard {
  /** Empty where there is none: a child then ends at its next print, within a second, by SIGPIPE. */
  command: readonly string[];
  /** Why it cannot be used; null where it can. */
  problem: string | null;
  /** False where it could not be tried now, and a later try may succeed. */
  final: boolean;
}

/** Finds a command that has a child killed when this process dies, however it dies (busybox's setpriv cannot). */
export async function findGuard(searchPath: string): Promise<Guard> {
  const none = (problem: string, final = true): Guard => ({ command: [], problem, final });
  const setpriv = await findExecutable('setpriv', searchPath);
  if (setpriv === null) return none('there is no setpriv');
  const command = [setpriv, '--pdeathsig', 'KILL', '--'];
  const args = [...command.slice(1), setpriv, '--version'];
  const result = await runCommand(setpriv, args, { searchPath, timeoutMs: GUARD_TIMEOUT_MS });
  const failure = failureOf(result, GUARD_TIMEOUT_MS);
  if (failure === null) return { command, problem: null, final: true };
  return none(`${setpriv} --pdeathsig cannot be used: ${failure}`, !mayRunLater(result));
}
