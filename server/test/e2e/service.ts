import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { Serving } from './program.ts';

export interface Service extends Serving {
  /** Everything that it has sent to the service manager. */
  messages: string;
}

/** Starts a command as systemd does: with sockets from descriptor 3 on, and a connection for messages after them. */
export function underSystemd(
  t: TestContext,
  command: readonly string[],
  fds: readonly number[],
  env = {},
): Service {
  const names = [...fds.map(() => 'http'), 'notify'].join(':');
  const start = `exec env LISTEN_PID=$$ LISTEN_FDS=${fds.length + 1} LISTEN_FDNAMES=${names} "$@"`;
  const child: ChildProcess = spawn('sh', ['-c', start, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'pipe', ...fds, 'pipe'],
    env: { PATH: process.env.PATH, ...env },
  });
  t.after(() => child.kill('SIGKILL'));
  const service = Object.assign(new Serving(child), { messages: '' });
  (child.stdio[fds.length + 3] as Readable).on('data', (chunk) => {
    service.messages += chunk;
  });
  return service;
}
