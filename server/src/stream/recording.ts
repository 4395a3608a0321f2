import type { DroppedLine, LineSource } from './source.ts';

export interface RecordingOptions {
  /** File to read; `-` is standard input. */
  path: string;
  /** Where `-` reads from; default process.stdin. */
  stdin?: NodeJS.ReadableStream;
}

/** Reads a recording, plain or gzip (told by its magic bytes). */
export class RecordingSource implements LineSource {
  readonly kind = 'replay';
  readonly name: string;

  constructor(options: RecordingOptions) {
    this.name = options.path;
  }

  async run(
    _onLine: (line: string) => void,
    _signal: AbortSignal,
    _onDropped?: (why: DroppedLine) => void,
  ): Promise<void> {}
}

export interface RecorderOptions {
  /** File to write, gzip when it ends in `.gz`; an existing file is replaced. */
  path: string;
  /** Bytes that may wait for the disk before lines are dropped; default 8 MiB. */
  maxPendingBytes?: number;
  /** Milliseconds that a line may wait before it is written; default 1000. */
  flushMs?: number;
}

/** Writes stream lines behind the pipeline's back: `write` never blocks and never throws. */
export class Recorder {
  /** Lines handed to the file. */
  written = 0;
  /** Lines dropped because the disk was slow or has failed. */
  dropped = 0;
  /** The first error of the file, if any; later lines are dropped. */
  error: Error | null = null;

  readonly path: string;

  constructor(options: RecorderOptions) {
    this.path = options.path;
  }

  /** Opens the file; rejects with a TracerError when it cannot be written. */
  async start(): Promise<void> {}

  /** Takes one line without its line feed. */
  write(_line: string): void {}

  /** Writes what waits and closes the file. May be called twice, never rejects. */
  async stop(): Promise<void> {}
}
