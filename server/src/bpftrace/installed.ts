import { stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { type CommandResult, failureOf, mayRunLater, runCommand } from '../host/command.ts';
import {
  bpftraceFix,
  type Distribution,
  FIRST_UNKNOWN_BPFTRACE,
  installCommand,
  OLDEST_BPFTRACE,
} from '../host/distribution.ts';
import { isAbsent } from '../lib/errno.ts';
import { compareVersions } from '../lib/versions.ts';
import { FIXES, type StartFailure } from './start-failure.ts';

export interface Bpftrace {
  path: string;
  /** `0.23.2` */
  version: string;
  parts: readonly number[];
}

export interface FindBpftraceOptions {
  /** A path, or a name to look for in PATH. */
  command: string;
  /** The PATH to look in. */
  searchPath: string;
  /** Selects the remedy if there is no supported bpftrace. */
  distribution?: Distribution | null;
  /** Longest time for `--version`, in milliseconds; default 60,000. */
  timeoutMs?: number;
}

/**
 * Finds bpftrace and runs `bpftrace --version`. The reason `resources` means that the command could not be run now, so
 * nothing is known; a retry may succeed.
 */
export async function findBpftrace(options: FindBpftraceOptions): Promise<Bpftrace | StartFailure> {
  const { command, searchPath, distribution = null, timeoutMs = 60_000 } = options;
  const path = await findExecutable(command, searchPath);
  if (path === null) {
    const remedy = `${bpftraceFix(distribution)}; or set --bpftrace.path to another bpftrace`;
    return { reason: 'no_bpftrace', message: `there is no executable ${command}`, remedy };
  }
  const result = await runCommand(path, ['--version'], { searchPath, timeoutMs });
  const failure = failureOf(result, timeoutMs);
  if (failure !== null) {
    const message = `${path} --version cannot be run: ${failure}`;
    if (mayRunLater(result)) return { reason: 'resources', message, remedy: FIXES.resources };
    return { reason: 'no_bpftrace', message, remedy: fixForFailure(path, result, distribution) };
  }
  const parts = parseVersion(result.stdout);
  if (parts === null) {
    const text = (result.stdout.trim() || result.stderr.trim()).slice(0, 80);
    const message = `${path} --version exited with 0 and printed ${JSON.stringify(text)}, which is not a version of bpftrace`;
    const remedy = `set --bpftrace.path to a bpftrace; ${bpftraceFix(distribution)}`;
    return { reason: 'unsupported_bpftrace', message, remedy };
  }
  const version = parts.join('.');
  if (compareVersions(parts, OLDEST_BPFTRACE) < 0 || compareVersions(parts, FIRST_UNKNOWN_BPFTRACE) >= 0) {
    const message = `${path} is bpftrace ${version}; 0.23.0 up to, not including, 1.0.0 are supported`;
    return { reason: 'unsupported_bpftrace', message, remedy: bpftraceFix(distribution, parts) };
  }
  return { path, version, parts };
}

/** Errors of the dynamic loaders of glibc and musl: a library, or a symbol in one, is missing. */
const LOADER =
  /error while loading shared libraries|Error loading shared library|Error relocating|symbol lookup error|version `[^']+' not found/;

function fixForFailure(
  path: string,
  { error, signal, code, stderr, timedOut }: CommandResult,
  distribution: Distribution | null,
): string {
  const reinstall = `install bpftrace again from one source: ${bpftraceFix(distribution)}`;
  if (LOADER.test(stderr)) {
    const missing = /lib[\w.+-]+\.so[\w.]*/.exec(stderr)?.[0];
    const which = missing === undefined ? '' : `, such as the one that contains ${missing}`;
    return `\`ldd ${path}\` lists the missing libraries: install their packages${which}, or ${reinstall}`;
  }
  if (error?.code === 'EACCES') {
    return `allow this user to execute it: \`chmod a+x ${path}\`; check whether its file system is mounted with noexec`;
  }
  if (error?.code === 'ENOENT') return `the interpreter of ${path} does not exist: ${reinstall}`;
  if (error?.code === 'ENOEXEC') return `${path} is built for another architecture: ${reinstall}`;
  if (timedOut) return `run \`${path} --version\` on a terminal, and find out what it waits for`;
  if (signal === 'SIGKILL')
    return 'check whether the OOM killer of the kernel ended it: `dmesg | grep -i oom`';
  if (signal === 'SIGSYS') return 'a seccomp filter killed it: allow the system calls that bpftrace needs';
  if (code === 126) return `allow this user to execute the programs that ${path} starts`;
  return `run \`${path} --version\` by hand; ${reinstall}`;
}

/** How to install the package of the helper commands setpriv and taskset. */
export function helperFix(distribution: Distribution | null): string {
  const command = installCommand(distribution, 'util-linux');
  return command === null ? 'install setpriv and taskset of util-linux' : `\`${command}\``;
}

/** `bpftrace v0.23.2`, `bpftrace v0.24.1-5-g1a2b3c4`, `bpftrace 0.27.1` -> parts; null if the output has none. */
export function parseVersion(output: string): number[] | null {
  const match = /^bpftrace v?(\d+)\.(\d+)(?:\.(\d+))?/m.exec(output);
  return match === null ? null : match.slice(1).map((part) => Number(part ?? 0));
}

const ANY_MAY_EXECUTE = 0o111;

/**
 * The path of a command, found as a shell finds it; null if there is none. Checks the mode bits and not access(2),
 * which ignores ambient capabilities. Whether this process may execute the file shows when it is executed.
 */
export async function findExecutable(command: string, searchPath: string): Promise<string | null> {
  const candidates = command.includes('/')
    ? [command]
    : searchPath
        .split(delimiter)
        .filter((folder) => folder !== '')
        .map((folder) => join(folder, command));
  let unknown: string | null = null;
  for (const candidate of candidates) {
    try {
      const found = await stat(candidate);
      if (found.isFile() && (found.mode & ANY_MAY_EXECUTE) !== 0) return candidate;
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      // A shell skips a folder of PATH that this user cannot search, too.
      const isSkipped = errno === 'ENOTDIR' || (errno === 'EACCES' && candidate !== command);
      // Otherwise it may exist: executing it gives the error.
      if (!isAbsent(error) && !isSkipped) unknown ??= candidate;
    }
  }
  return unknown;
}
