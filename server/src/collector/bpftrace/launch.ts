import { spawn } from 'node:child_process';
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

/**
 * A command to start a child through that has it killed when this process dies, however it dies. Empty where there is
 * none (busybox's setpriv cannot): a child then ends at its next print, within a second, by SIGPIPE.
 */
export async function findGuard(searchPath: string): Promise<string[]> {
  const setpriv = await findExecutable('setpriv', searchPath);
  if (setpriv === null) return [];
  const guard = [setpriv, '--pdeathsig', 'KILL', '--'];
  const works = await new Promise<boolean>((resolve) => {
    const trial = spawn(setpriv, [...guard.slice(1), setpriv, '--version'], { stdio: 'ignore' });
    trial.on('error', () => resolve(false));
    trial.on('close', (code) => resolve(code === 0));
  });
  return works ? guard : [];
}
