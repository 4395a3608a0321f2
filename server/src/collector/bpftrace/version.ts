import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { ChildReason } from '../../stream/wire.ts';
import { compareVersions } from './condition.ts';

/** Why tracing cannot start, for people and as a label. */
export interface StartFailure {
  reason: ChildReason;
  message: string;
  remedy: string;
}

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
  timeoutMs?: number;
}

const OLDEST = [0, 23, 0];
const FIRST_UNKNOWN = [1, 0, 0];
const INSTALL =
  '`apt-get install bpftrace`, 0.23 or newer (Debian 13 has it), or name another one with --bpftrace.path';

/** Finds bpftrace and asks it for its version. */
export async function findBpftrace(options: FindBpftraceOptions): Promise<Bpftrace | StartFailure> {
  const { command, searchPath, timeoutMs = 60_000 } = options;
  const path = await findExecutable(command, searchPath);
  if (path === null) {
    return { reason: 'no_bpftrace', message: `there is no executable ${command}`, remedy: INSTALL };
  }
  const output = await readOutput(path, ['--version'], timeoutMs);
  if (output instanceof Error) {
    return { reason: 'no_bpftrace', message: `${path} cannot be run: ${output.message}`, remedy: INSTALL };
  }
  const parts = parseVersion(output);
  if (parts === null) {
    const message = `${path} --version says ${JSON.stringify(output.slice(0, 80))}, which is no version`;
    return { reason: 'unsupported_bpftrace', message, remedy: INSTALL };
  }
  const version = parts.join('.');
  if (compareVersions(parts, OLDEST) < 0 || compareVersions(parts, FIRST_UNKNOWN) >= 0) {
    const message = `${path} is bpftrace ${version}; 0.23.0 up to, not including, 1.0.0 are supported`;
    return { reason: 'unsupported_bpftrace', message, remedy: INSTALL };
  }
  return { path, version, parts };
}

/** `bpftrace v0.23.2`, `bpftrace v0.24.1-5-gdeadbeef`, `bpftrace 0.27.1` -> parts; null where there is none. */
export function parseVersion(output: string): number[] | null {
  const match = /^bpftrace v?(\d+)\.(\d+)(?:\.(\d+))?/m.exec(output);
  return match === null ? null : match.slice(1).map((part) => Number(part ?? 0));
}

/** The path of a command as the shell would find it; null where there is none. */
export async function findExecutable(command: string, searchPath: string): Promise<string | null> {
  const candidates = command.includes('/')
    ? [command]
    : searchPath
        .split(delimiter)
        .filter((folder) => folder !== '')
        .map((folder) => join(folder, command));
  for (const candidate of candidates) {
    const usable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return candidate;
  }
  return null;
}

function readOutput(path: string, args: string[], timeoutMs: number): Promise<string | Error> {
  return new Promise((resolve) => {
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    let failed: Error | null = null;
    const timer = setTimeout(() => {
      failed = new Error(`no answer within ${timeoutMs / 1000} s`);
      child.kill('SIGKILL');
    }, timeoutMs);
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => {
      if (output.length < 4096) output += text;
    });
    child.on('error', (error) => {
      failed ??= error;
    });
    child.on('close', () => {
      clearTimeout(timer);
      resolve(failed ?? output);
    });
  });
}
