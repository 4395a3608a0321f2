import { once } from 'node:events';
import { open } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { constants, createGzip } from 'node:zlib';
import { TracerError } from '../support/errors.ts';

export interface RecorderOptions {
  /** File to write, gzip when it ends in `.gz`; an existing file is replaced. */
  path: string;
  /** Bytes that may wait for the disk before lines are dropped; default 8 MiB. */
  maxPendingBytes?: number;
  /** Milliseconds that a line may wait before it is written; default 1000, and 50 where a reader waits (a pipe or a port). */
  flushMs?: number;
  /** Called once, at the first error of the file: nothing is written after it. */
  onFailure?: (error: Error) => void;
  /** Called for each line that is dropped while the file has not failed. */
  onDropped?: () => void;
}

const BATCH_BYTES = 64 * 1024;

/**
 * Writes stream lines behind the pipeline's back: `write` never blocks and never throws. Lines go to the file in whole
 * batches, and gzip is flushed after each, so that what was written can be read after a crash.
 */
export class Recorder {
  /** Lines handed to the file. */
  written = 0;
  /** Lines dropped because the disk was slow or has failed. */
  dropped = 0;
  /** The first error of the file, if any; later lines are dropped. */
  error: Error | null = null;

  readonly path: string;
  readonly #maxPendingBytes: number;
  readonly #onFailure: (error: Error) => void;
  readonly #onDropped: () => void;
  #flushMs: number | undefined;
  #sink: Writable | null = null;
  #closed: Promise<unknown> = Promise.resolve();
  #batch: string[] = [];
  #batchBytes = 0;
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: RecorderOptions) {
    this.path = options.path;
    this.#maxPendingBytes = options.maxPendingBytes ?? 8 * 1024 * 1024;
    this.#flushMs = options.flushMs;
    this.#onFailure = options.onFailure ?? (() => {});
    this.#onDropped = options.onDropped ?? (() => {});
  }

  /** Opens the file; rejects with a TracerError when it cannot be written. */
  async start(): Promise<void> {
    const handle = await open(this.path, 'w').catch((cause: unknown) => {
      const remedy = 'give a path in a folder that this user may write to';
      throw new TracerError('file_unwritable', 'the recording cannot be written', {
        where: this.path,
        remedy,
        cause,
      });
    });
    this.#flushMs ??= (await handle.stat()).isFile() ? 1000 : 50;
    const file = handle.createWriteStream();
    const fail = (error: Error) => {
      const isFirst = this.error === null;
      this.error ??= error;
      this.#sink?.destroy();
      if (isFirst) this.#onFailure(error);
    };
    file.on('error', fail);
    this.#closed = once(file, 'close').catch(() => {});
    if (!this.path.endsWith('.gz')) {
      this.#sink = file;
      return;
    }
    const pack = createGzip({ flush: constants.Z_SYNC_FLUSH });
    pack.on('error', fail);
    pack.pipe(file);
    this.#sink = pack;
  }

  /** Takes one line without its line feed. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line) + 1;
    if (this.#sink === null || this.error !== null || this.#pendingBytes + bytes > this.#maxPendingBytes) {
      this.dropped += 1;
      if (this.error === null) this.#onDropped();
      return;
    }
    this.#batch.push(line);
    this.#batchBytes += bytes;
    this.#pendingBytes += bytes;
    if (this.#batchBytes >= BATCH_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), this.#flushMs).unref();
  }

  /** Writes what waits and closes the file. May be called twice, never rejects. */
  async stop(): Promise<void> {
    this.#flush();
    const sink = this.#sink;
    this.#sink = null;
    if (sink !== null && !sink.destroyed) sink.end();
    await this.#closed;
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const lines = this.#batch.length;
    const bytes = this.#batchBytes;
    if (lines === 0) return;
    const text = `${this.#batch.join('\n')}\n`;
    this.#batch = [];
    this.#batchBytes = 0;
    if (this.#sink === null || this.#sink.destroyed) {
      this.#pendingBytes -= bytes;
      this.dropped += lines;
      return;
    }
    this.#sink.write(text, (error) => {
      this.#pendingBytes -= bytes;
      if (error) this.dropped += lines;
      else this.written += lines;
    });
  }
}
