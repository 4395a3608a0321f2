import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { constants, createGzip } from 'node:zlib';
import { withinDeadline } from '../support/deadline.ts';
import { type Existing, openTarget, type WriteTarget } from '../support/write-target.ts';

export interface RecorderOptions {
  /** File, pipe or character device to write to, gzip when it ends in `.gz`. */
  path: string;
  /** What happens where a file of that name exists; default `fail`. */
  existing?: Existing;
  /** Bytes that may wait for the disk before lines are dropped; default 8 MiB. */
  maxPendingBytes?: number;
  /** Milliseconds that a line may wait before it is written; default 1000, and 50 where a reader waits (a pipe or a port). */
  flushMs?: number;
  /** Milliseconds that the file has at the end to take what waits; default 3000. */
  stopMs?: number;
  /** Of a named pipe without a reader, start() does not wait for one: lines are kept until it comes, as long as there is room. */
  queue?: boolean;
  /** Called where a named pipe has no reader yet. */
  onWait?: (path: string) => void;
  /** Called once, when the file is open, with its path: it has a number where `existing` is `number`. */
  onOpen?: (path: string) => void;
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

  /** Where it writes: the path that was given, after the start the one that was opened. */
  path: string;
  readonly #options: RecorderOptions;
  readonly #maxPendingBytes: number;
  readonly #onFailure: (error: Error) => void;
  readonly #onDropped: () => void;
  #flushMs: number | undefined;
  #sink: Writable | null = null;
  /** What the gzip stream writes to, or the sink itself. */
  #file: Writable | null = null;
  #opening: Promise<void> | null = null;
  readonly #stopped = new AbortController();
  #closed: Promise<unknown> = Promise.resolve();
  #batch: string[] = [];
  #batchBytes = 0;
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: RecorderOptions) {
    this.path = options.path;
    this.#options = options;
    this.#maxPendingBytes = options.maxPendingBytes ?? 8 * 1024 * 1024;
    this.#flushMs = options.flushMs;
    this.#onFailure = options.onFailure ?? (() => {});
    this.#onDropped = options.onDropped ?? (() => {});
  }

  /**
   * Opens the file. Of a named pipe it waits for a reader, with `queue` in the background.
   *
   * @param signal ends that wait; the recorder then takes nothing
   * @throws TracerError `file_unwritable`
   */
  async start(signal: AbortSignal = new AbortController().signal): Promise<void> {
    const { existing = 'fail', queue = false, onWait } = this.#options;
    let isWaiting = false;
    const waiting = new Promise<void>((resolve) => {
      const ended = AbortSignal.any([signal, this.#stopped.signal]);
      const begun = (): void => {
        onWait?.(this.path);
        isWaiting = queue;
        if (queue) resolve();
      };
      this.#opening = openTarget(this.path, existing, ended, begun).then(
        (target) => {
          if (target !== null) this.#open(target);
        },
        (error: Error) => {
          this.error ??= error;
          if (isWaiting) this.#onFailure(error);
          throw error;
        },
      );
    });
    this.#opening
      ?.catch(() => {})
      .finally(() => {
        this.#opening = null;
      });
    await Promise.race([this.#opening, waiting]);
  }

  #open({ path, isFile, sink: file }: WriteTarget): void {
    this.path = path;
    this.#file = file;
    this.#flushMs ??= isFile ? 1000 : 50;
    const fail = (error: Error) => {
      const isFirst = this.error === null;
      this.error ??= error;
      this.#sink?.destroy();
      file.destroy();
      if (isFirst) this.#onFailure(error);
    };
    file.on('error', fail);
    this.#closed = once(file, 'close').catch(() => {});
    if (this.#options.path.endsWith('.gz')) {
      const pack = createGzip({ flush: constants.Z_SYNC_FLUSH });
      pack.on('error', fail);
      pack.pipe(file);
      this.#sink = pack;
    } else this.#sink = file;
    this.#options.onOpen?.(path);
    this.#flush();
  }

  /** Takes one line without its line feed. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line) + 1;
    const takes = this.#sink !== null || this.#opening !== null;
    if (!takes || this.error !== null || this.#pendingBytes + bytes > this.#maxPendingBytes) {
      this.dropped += 1;
      if (this.error === null) this.#onDropped();
      return;
    }
    this.#batch.push(line);
    this.#batchBytes += bytes;
    this.#pendingBytes += bytes;
    if (this.#sink === null) return;
    if (this.#batchBytes >= BATCH_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), this.#flushMs).unref();
  }

  /** Writes what waits and closes the file; drops what it does not take in time. May be called twice, never rejects. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#opening?.catch(() => {});
    this.#flush();
    const sink = this.#sink;
    this.#sink = null;
    if (sink !== null && !sink.destroyed) sink.end();
    if (await withinDeadline(this.#closed, this.#options.stopMs ?? 3000)) return;
    // Somebody at the other end reads no more. What is on its way to the kernel comes back by itself.
    sink?.destroy();
    this.#file?.destroy();
    // Each batch that was not written is counted now.
    await new Promise(setImmediate);
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
