import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { PROGRAM } from './stage.ts';

/** Bytes of the server's log that are kept. */
const LOG_BYTES = 20_000;

/** `vfio-dmabuf-tracer serve -` on this machine. It serves the stream of the collector in the guest. */
export class HostServer {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #log = '';

  constructor(port: number) {
    const program = join(PROGRAM, 'vfio-dmabuf-tracer.mjs');
    const args = ['serve', '-', '--web.listen-address', `127.0.0.1:${port}`, '--log.format', 'json'];
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, program, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    const keep = (chunk: Buffer): void => {
      this.#log = `${this.#log}${chunk}`.slice(-LOG_BYTES);
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    this.#child.stdin?.on('error', () => undefined);
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  /** The server's standard input, which reads the stream. */
  get input(): Writable {
    if (this.#child.stdin === null) throw new Error('the server has no standard input');
    return this.#child.stdin;
  }

  log(): string {
    return this.#log;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#ended;
  }
}
