import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { findExecutable } from '../bpftrace/installed.ts';
import { endOf, killGroup, type ProcessEnd } from '../host/process-group.ts';
import { withinDeadline } from '../lib/deadline.ts';
import { TracerError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { CommandName } from './command.ts';
import { serverFlags } from './server-user.ts';

export interface ServerProcessOptions {
  /** The user that the server becomes if this process is root. */
  user: string;
  /** Flags of the settings for the server. */
  flags: readonly string[];
  env: NodeJS.ProcessEnv;
  logger: Pick<Logger, 'warn'>;
}

/** Environment variables that the server gets. Others may contain secrets. */
const PASSED_ON = /^(?:VFIO_DMABUF_TRACER_\w+|NODE_OPTIONS|TERM|COLORTERM|NO_COLOR|FORCE_COLOR|TZ)$/;
const COMMAND: CommandName = 'server';
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** The server has ten seconds to stop, and kills itself two seconds later. */
const STOP_MS = 13_000;

/**
 * The server of `run`: this program in a second process, which reads the stream from its standard input and has no
 * privileges. Its log lines go to the standard output of this process.
 */
export class ServerProcess {
  /** Resolves when the process has ended. */
  readonly ended: Promise<ProcessEnd>;
  /** Aborted when the process has ended. */
  readonly gone: AbortSignal;
  /** Resolves to true when the server listens, to false if it ends before. */
  readonly started: Promise<boolean>;
  readonly #child: ChildProcess;
  #listens = false;
  #hangup = false;

  /** @throws TracerError if setpriv is not installed, or if the user cannot run the program */
  static async start({ user, flags, env, logger }: ServerProcessOptions): Promise<ServerProcess> {
    const setpriv = await findExecutable('setpriv', env.PATH || DEFAULT_PATH);
    if (setpriv === null) {
      const message = 'setpriv is not installed, so no server without privileges can be started';
      throw new TracerError('host_untraceable', message, { remedy: 'install util-linux' });
    }
    const [node, main = ''] = [process.execPath, process.argv[1]];
    const without = await serverFlags(setpriv, user, { node, main }, logger);
    const command = [...without, '--', node, ...process.execArgv, main, COMMAND, ...flags];
    return new ServerProcess(
      // In a separate session: Ctrl-C signals only this process, which then stops the server after the last line.
      spawn(setpriv, command, {
        env: Object.fromEntries(Object.entries(env).filter(([name]) => PASSED_ON.test(name))),
        detached: true,
        stdio: ['pipe', 'inherit', 'inherit', 'pipe'],
      }),
    );
  }

  constructor(child: ChildProcess) {
    this.#child = child;
    this.ended = endOf(child);
    const gone = new AbortController();
    this.gone = gone.signal;
    void this.ended.then(() => gone.abort());
    // EPIPE: the server has ended. Its end gives the cause.
    child.stdin?.on('error', () => {});
    const signal = child.stdio[3] as Readable | null;
    signal?.on('error', () => {});
    const listens = signal === null ? this.ended.then(() => false) : once(signal, 'data').then(() => true);
    this.started = Promise.race([listens, this.ended.then(() => false)]).catch(() => false);
    void this.started.then((listening) => {
      this.#listens = listening;
      if (this.#hangup) this.hangUp();
    });
  }

  /** The stream for the server. */
  get input(): Writable {
    return this.#child.stdin as Writable;
  }

  /** Makes the server read its settings again. A server that does not listen yet does so when it listens. */
  hangUp(): void {
    this.#hangup = !this.#listens;
    if (this.#listens) this.#child.kill('SIGHUP');
  }

  /** Announces to the server that the end of its input will be no failure. */
  announceStop(): void {
    this.#child.kill('SIGTERM');
  }

  /** Waits for the end of the server after the end of its input, and kills it after 13 seconds. */
  async stop(): Promise<ProcessEnd> {
    this.#child.stdin?.end();
    if (!(await withinDeadline(this.ended, STOP_MS))) killGroup(this.#child);
    return await this.ended;
  }

  kill(): void {
    killGroup(this.#child);
  }
}
