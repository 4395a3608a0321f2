import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const PRELOAD = new URL('./with-parent.mjs', import.meta.url).href;
const READY_POLL_MS = 50;
/**
 * Longest wait until a listening program has read its recording. After that it is served, and the page follows as it
 * reads on.
 */
const READY_LIMIT_MS = 500;
/** Longer than the program's own stop deadline of 10 s. */
const STOP_LIMIT_MS = 12_000;

export interface ProgramOptions {
  /** Folder of the program (`writeProgram`). */
  directory: string;
  recording: string;
  flags: readonly string[];
}

/** A process of the built program that replays the recording on a free port. */
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
    // In a new process group, so that Ctrl-C reaches only this process, which then stops the program.
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

  /** TCP port; undefined until the program listens. */
  get port(): number | undefined {
    return this.#port;
  }

  /** Resolves with the exit code or signal. */
  get ended(): Promise<string> {
    return this.#ended ?? Promise.resolve('not started');
  }

  /**
   * Waits until the program listens, and then at most 500 ms until it has read the recording. Resolves with 'whole' if
   * it has read all, 'reading' if not, and 'ended' if the program has ended.
   */
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

  /** Closes the IPC channel, which stops the program as SIGTERM does. Sends SIGKILL after 12 s. */
  async stop(): Promise<void> {
    if (this.#child === undefined) return;
    if (this.#child.connected) this.#child.disconnect();
    const kill = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(kill);
  }
}
