import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { constants, createGzip } from 'node:zlib';
import { withinDeadline } from '../lib/deadline.ts';
import { type Existing, openTarget, type WriteTarget } from '../lib/write-target.ts';
import type { Recording } from './wire.ts';

export interface RecorderOptions {
  /** File, pipe or character device to write to; compressed with gzip if the path ends in `.gz`. */
  path: string;
  /** What to do if the file exists; default `fail`. */
  existing?: Existing;
  /** Most bytes that wait for the disk; beyond that lines are dropped. Default 8 MiB. */
  maxPendingBytes?: number;
  /**
   * Milliseconds that a line may wait before it is written; default 1000 for a file, 50 for a pipe or character device.
   */
  flushMs?: number;
  /** Milliseconds that stop() waits for pending lines to be written; default 3000. */
  stopMs?: number;
  /**
   * For a named pipe: start() does not wait for a reader. Lines are buffered until one opens the pipe, up to
   * maxPendingBytes.
   */
  queue?: boolean;
  /** Called if a named pipe has no reader yet. */
  onWait?: (path: string) => void;
  /**
   * Called once, when the file is open, with its path. If `existing` is `number`, the path may have a number appended.
   */
  onOpen?: (path: string) => void;
  /** Called once, at the first error of the file. Nothing is written after it. */
  onFailure?: (error: Error) => void;
  /** Called for each line that `write` drops, but not after an error of the file. */
  onDropped?: () => void;
}

const BATCH_BYTES = 64 * 1024;

/**
 * Writes stream lines in the background: `write` never blocks and never throws. Lines are written in whole batches, and
 * gzip is flushed after each batch, so that written lines can be read after a crash.
 */
export class Recorder {
  /** Lines written to the file. */
  written = 0;
  /** Lines dropped because the disk was too slow or a write failed. */
  dropped = 0;
  /** The first error of the file, if any. Later lines are dropped. */
  error: Error | null = null;

  /** The configured path; after the file is open, the path that was opened. */
  path: string;
  readonly #options: RecorderOptions;
  readonly #maxPendingBytes: number;
  readonly #onFailure: (error: Error) => void;
  readonly #onDropped: () => void;
  #flushMs: number | undefined;
  #sink: Writable | null = null;
  /** The file: the destination of the gzip stream, or the sink itself. */
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
   * Opens the file. For a named pipe it waits for a reader; with `queue` it does so in the background.
   *
   * @param signal ends that wait; the recorder then drops all lines
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

  /** What the server reports about the recording. */
  get state(): Recording {
    return { up: this.error === null, lines_dropped: this.dropped };
  }

  /** Queues one line, given without its line feed. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line) + 1;
    const accepts = this.#sink !== null || this.#opening !== null;
    if (!accepts || this.error !== null || this.#pendingBytes + bytes > this.#maxPendingBytes) {
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

  /**
   * Writes the pending lines and closes the file. Drops lines that are not written in time. May be called twice, never
   * rejects.
   */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#opening?.catch(() => {});
    this.#flush();
    const sink = this.#sink;
    this.#sink = null;
    if (sink !== null && !sink.destroyed) sink.end();
    if (await withinDeadline(this.#closed, this.#options.stopMs ?? 3000)) return;
    // The reader at the other end no longer reads. A write that is in progress ends by itself.
    sink?.destroy();
    this.#file?.destroy();
    // Let the write callbacks run: they count the batches that were not written.
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
