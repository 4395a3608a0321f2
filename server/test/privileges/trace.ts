import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { ensurePackages } from '../../../lab/src/host-packages.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

/** One system call, with the time of its start. */
export interface Call {
  /** Seconds since 1970. */
  at: number;
  /** As strace prints it, such as `openat(AT_FDCWD, "/proc/self/status", O_RDONLY) = 3`. */
  text: string;
}

/** A process under strace: all its threads, in the order of the calls. */
export interface TracedProcess {
  pid: number;
  /** The command line of its last execve. */
  command: string;
  calls: Call[];
}

const CALLS = [
  '%file,%network,%process,%creds',
  'kill,tkill,tgkill,ptrace,process_vm_readv,process_vm_writev,pidfd_open,bpf,perf_event_open,prctl,io_uring_setup',
].join(',');

/** Starts a command under strace. @returns the strace process, and the folder for `processes` */
export async function startTraced(
  t: TestContext,
  command: string,
  args: readonly string[],
): Promise<{ child: ChildProcess; folder: string }> {
  await ensurePackages(['strace'], (line) => t.diagnostic(line));
  const folder = await temporaryFolder(t);
  const flags = ['-ff', '-qq', '-ttt', '-s', '256', '-o', join(folder, 'thread'), '-e', `trace=${CALLS}`];
  const child = spawn('strace', [...flags, '--', command, ...args], { env: { PATH: process.env.PATH } });
  t.after(() => child.kill('SIGKILL'));
  return { child, folder };
}

/** What strace has written about the processes of an ended command. */
export function processes(folder: string): TracedProcess[] {
  const threads = new Map(
    readdirSync(folder).map((name) => [
      Number(basename(name).split('.').at(-1)),
      callsOf(join(folder, name)),
    ]),
  );
  assert.ok(threads.size > 0, 'strace has written nothing');
  const processOf = new Map<number, number>();
  for (const [thread, calls] of threads) {
    for (const { text } of calls) {
      const made = /^clone3?\(.*CLONE_THREAD.*\) = (\d+)$/.exec(text)?.[1];
      if (made !== undefined) processOf.set(Number(made), thread);
    }
  }
  const firstThread = (thread: number): number => {
    const maker = processOf.get(thread);
    return maker === undefined ? thread : firstThread(maker);
  };
  return [...threads.keys()]
    .filter((thread) => !processOf.has(thread))
    .map((pid) => {
      const own = [...threads].filter(([thread]) => firstThread(thread) === pid);
      const calls = own.flatMap(([, made]) => made).sort((a, b) => a.at - b.at);
      const command = calls.findLast(({ text }) => /^execve\(.* = 0$/.test(text))?.text ?? '';
      return { pid, command, calls };
    });
}

function callsOf(file: string): Call[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, at, text] = /^(\d+\.\d+) (\w+\(.*)$/.exec(line) ?? [];
      return at === undefined || text === undefined ? [] : [{ at: Number(at), text }];
    });
}
