import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { findExecutable } from '../bpftrace/installed.ts';
import { endOf, killGroup, type ProcessEnd } from '../host/process-group.ts';
import { withinDeadline } from '../lib/deadline.ts';
import { TracerError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { CommandName } from './command.ts';
import { setprivFlags } from './server-user.ts';

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
  readonly #options: ServerProcessOptions;
  readonly #gone = new AbortController();
  #child: ChildProcess | null = null;
  #ended: Promise<ProcessEnd> = Promise.resolve({ code: null, signal: null, error: null });
  #listens = false;
  #hasHangup = false;
  #isStopAnnounced = false;

  constructor(options: ServerProcessOptions) {
    this.#options = options;
  }

  /** Aborted when the process has ended. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** The stream for the server. */
  get input(): Writable {
    return this.#child?.stdin as Writable;
  }

  /**
   * Starts the process. Resolves to true when it listens, to false if it ends before. To be called once.
   *
   * @throws TracerError if setpriv is not installed, or if the user cannot run the program
   */
  async start(): Promise<boolean> {
    const { user, flags, env, logger } = this.#options;
    const setpriv = await findExecutable('setpriv', env.PATH || DEFAULT_PATH);
    if (setpriv === null) {
      const message = 'setpriv is not installed, so no server without privileges can be started';
      throw new TracerError('host_untraceable', message, { remedy: 'install util-linux' });
    }
    const [node, main = ''] = [process.execPath, process.argv[1]];
    const without = await setprivFlags(setpriv, user, { node, main }, logger);
    // In a separate session: Ctrl-C signals only this process, which then stops the server after the last line.
    const child = spawn(setpriv, [...without, '--', node, ...process.execArgv, main, COMMAND, ...flags], {
      env: Object.fromEntries(Object.entries(env).filter(([name]) => PASSED_ON.test(name))),
      detached: true,
      stdio: ['pipe', 'inherit', 'inherit', 'pipe'],
    });
    this.#child = child;
    this.#ended = endOf(child);
    void this.#ended.then(() => this.#gone.abort());
    if (this.#isStopAnnounced) this.announceStop();
    // EPIPE: the server has ended. Its end gives the cause.
    child.stdin?.on('error', () => {});
    const message = child.stdio[3] as Readable | null;
    const listens = message === null ? [] : [once(message, 'data').then(() => true)];
    this.#listens = await Promise.race([...listens, this.#ended.then(() => false)]).catch(() => false);
    if (this.#hasHangup) this.hangUp();
    return this.#listens;
  }

  /** Makes the server read its settings again, or do so as soon as it listens. */
  hangUp(): void {
    this.#hasHangup = !this.#listens;
    if (this.#listens) this.#child?.kill('SIGHUP');
  }

  /** Announces to the server that the end of its input will be no failure. */
  announceStop(): void {
    this.#isStopAnnounced = true;
    this.#child?.kill('SIGTERM');
  }

  /** Ends the input of the server and waits for its end. Kills it after 13 seconds. */
  async stop(): Promise<ProcessEnd> {
    this.#child?.stdin?.end();
    if (!(await withinDeadline(this.#ended, STOP_MS))) this.kill();
    return await this.#ended;
  }

  kill(): void {
    if (this.#child !== null) killGroup(this.#child);
  }
}
