import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const PRELOAD = new URL('./with-parent.mjs', import.meta.url).href;
const READY_POLL_MS = 50;
/** How long a program that listens may read the recording before it is served. The page then follows the rest. */
const READY_LIMIT_MS = 500;
/** The program's own deadline for its stop is 10 s. */
const STOP_LIMIT_MS = 12_000;

export interface ProgramOptions {
  /** Where `writeProgram` wrote it. */
  directory: string;
  recording: string;
  flags: readonly string[];
}

/** One process of the built program that replays the recording on a free port. */
export class Program {
  readonly directory: string;
  readonly #options: ProgramOptions;
  #child: ChildProcess | undefined;
  #port: number | undefined;
  #end: string | undefined;
  #ended: Promise<string> | undefined;

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.directory = options.directory;
  }

  start(): void {
    const { directory, recording, flags } = this.#options;
    const file = join(directory, 'vfio-dmabuf-tracer.mjs');
    const node = ['--enable-source-maps', '--import', PRELOAD];
    const args = [...node, file, 'replay', recording, ...flags, '--web.listen-address=127.0.0.1:0'];
    // A process group of its own: Ctrl-C in the terminal reaches only this process, which then stops the program.
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      detached: true,
    });
    this.#child = child;
    child.on('message', (message) => {
      this.#port ??= (message as { port: number }).port;
    });
    this.#ended = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.#end ??= reason;
        resolve(this.#end);
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  /** Undefined until it listens. */
  get port(): number | undefined {
    return this.#port;
  }

  /** Resolves with the exit code or signal. */
  get ended(): Promise<string> {
    return this.#ended ?? Promise.resolve('not started');
  }

  /** Waits until it listens and then, for a limited time, until it has read the recording: 'whole' or 'reading'. */
  async ready(): Promise<'whole' | 'reading' | 'ended'> {
    for (let limit = Number.POSITIVE_INFINITY; this.#end === undefined; await wait(READY_POLL_MS)) {
      if (this.#port === undefined) continue;
      limit = Math.min(limit, Date.now() + READY_LIMIT_MS);
      const answer = await fetch(`http://127.0.0.1:${this.#port}/-/ready`).catch(() => undefined);
      await answer?.arrayBuffer().catch(() => undefined);
      if (answer?.ok === true) return 'whole';
      if (Date.now() > limit) return 'reading';
    }
    return 'ended';
  }

  /** The end of the channel makes it stop as by SIGTERM. */
  async stop(): Promise<void> {
    if (this.#child === undefined) return;
    if (this.#child.connected) this.#child.disconnect();
    const kill = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(kill);
  }
}
