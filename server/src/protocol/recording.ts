import { once } from 'node:events';
import { constants, createReadStream } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { TracerError } from '../lib/errors.ts';
import type { LineSource } from './source.ts';
import { type DroppedLine, LineSplitter } from './splitter.ts';
import { type StreamLine, streamLine } from './stream-line.ts';
import { FORMAT_VERSION } from './wire.ts';

export interface RecordingOptions {
  /** File to read; `-` is standard input. */
  path: string;
  /** The stream that `-` reads; default process.stdin. */
  stdin?: NodeJS.ReadableStream;
  /** `live` if a collector is writing the stream now; default `replay`. */
  kind?: LineSource['kind'];
}

/** Milliseconds of reading after which the source yields to timers, signals and clients. */
const SLICE_MS = 20;

const GZIP_MAGIC = [0x1f, 0x8b] as const;

/** Reads a recording, plain or gzip. The magic bytes of the file decide. */
export class RecordingSource implements LineSource {
  readonly kind: LineSource['kind'];
  /** The file name without its directory, so that the output of a replay does not depend on the directory. */
  readonly name: string;
  readonly #path: string;
  /** Lines passed to onLine so far. If the rest cannot be read, the result of these lines is still reported. */
  lines = 0;
  readonly #stdin: NodeJS.ReadableStream;

  constructor(options: RecordingOptions) {
    this.kind = options.kind ?? 'replay';
    this.#path = options.path;
    this.name = basename(options.path);
    this.#stdin = options.stdin ?? process.stdin;
  }

  async run(
    onLine: (line: StreamLine) => void,
    signal: AbortSignal,
    onDropped?: (why: DroppedLine) => void,
  ): Promise<void> {
    const count = (line: StreamLine): void => {
      this.lines += 1;
      onLine(line);
    };
    const reading = new Reading(this.#path, count, onDropped);
    const chunks = this.#chunks(signal);
    const head = await readHead(chunks);
    const isGzip = head[0] === GZIP_MAGIC[0] && head[1] === GZIP_MAGIC[1];
    const bytes = withHead(head, chunks);
    if (isGzip) await gunzip(bytes, reading, this.#path, signal);
    else for await (const chunk of bytes) await pushInSlices(reading, chunk, signal);
    if (!signal.aborted) reading.end();
  }

  /**
   * Checks that the file exists and may be read, so that the error comes before anything is served. Does not open it: a
   * named pipe has to be opened once only.
   *
   * @throws TracerError `file_unreadable`
   */
  async assertReadable(): Promise<void> {
    if (this.#path === '-') return;
    try {
      await access(this.#path, constants.R_OK);
      if ((await stat(this.#path)).isDirectory()) throw new Error('it is a directory');
    } catch (cause) {
      throw this.#unreadable(cause);
    }
  }

  #unreadable(cause: unknown): TracerError {
    return new TracerError('file_unreadable', 'the recording cannot be read', {
      where: this.#path,
      remedy: 'give the path of a recording that this user may read, or - for standard input',
      cause,
    });
  }

  /** The bytes of the file. An abort ends them early; a failed read becomes an error for the user. */
  async *#chunks(signal: AbortSignal): AsyncGenerator<Buffer> {
    const input = this.#path === '-' ? this.#stdin : createReadStream(this.#path);
    const stop = () => (input as { destroy?: () => void }).destroy?.();
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const chunk of input) {
        if (signal.aborted) return;
        yield typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer);
      }
    } catch (cause) {
      if (signal.aborted) return;
      throw this.#unreadable(cause);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
}

/** Bytes of a chunk that are pushed between checks of the clock. */
const SLICE_BYTES = 4096;

/** Pushes a chunk of the file, and yields to the event loop every SLICE_MS. Ends early on an abort. */
async function pushInSlices(reading: Reading, chunk: Buffer, signal: AbortSignal): Promise<void> {
  let begin = performance.now();
  for (let at = 0; at < chunk.length && !signal.aborted; at += SLICE_BYTES) {
    reading.push(chunk.subarray(at, at + SLICE_BYTES));
    if (performance.now() - begin < SLICE_MS) continue;
    await yieldToEventLoop();
    begin = performance.now();
  }
}

/** Splits a recording into lines; rejects a stream that does not begin with a header. */
class Reading {
  readonly #name: string;
  readonly #onLine: (line: StreamLine) => void;
  readonly #splitter: LineSplitter;
  #started = false;
  #rejected: TracerError | null = null;

  constructor(name: string, onLine: (line: StreamLine) => void, onDropped?: (why: DroppedLine) => void) {
    this.#name = name;
    this.#onLine = onLine;
    this.#splitter = new LineSplitter({
      onLine: (raw) => this.#line(raw),
      onDropped: (why) => {
        if (this.#started) onDropped?.(why);
      },
    });
  }

  push(chunk: Buffer): void {
    this.#splitter.push(chunk);
    if (this.#rejected !== null) throw this.#rejected;
  }

  /** Ends the input early: an incomplete last line is reported as dropped. */
  cut(): void {
    this.#splitter.end();
  }

  end(): void {
    this.cut();
    if (!this.#started) throw this.#reject('it has no header line');
  }

  #line(raw: string): void {
    if (this.#rejected !== null) return;
    const line = streamLine(raw);
    if (!this.#started) {
      if (line.record.type !== 'header') {
        this.#rejected = this.#reject(explainNoHeader(raw));
        return;
      }
      this.#started = true;
    }
    this.#onLine(line);
  }

  #reject(why: string): TracerError {
    return new TracerError('bad_recording', `this is not a recording: ${why}`, {
      where: `${this.#name}:1`,
      remedy: 'make one with `vfio-dmabuf-tracer record FILE`',
    });
  }
}

function explainNoHeader(line: string): string {
  const format = /^\{"type": ?"header".*"format": ?(\d+)/.exec(line)?.[1];
  if (format !== undefined && Number(format) !== FORMAT_VERSION) {
    return `its format is ${format}, this program reads format ${FORMAT_VERSION}`;
  }
  return 'its first line is not a header';
}

/** The first bytes, at least two if the file has them: enough to recognize gzip. */
async function readHead(chunks: AsyncGenerator<Buffer>): Promise<Buffer> {
  let head: Buffer = Buffer.alloc(0);
  while (head.length < GZIP_MAGIC.length) {
    const next = await chunks.next();
    if (next.done) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

async function* withHead(head: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  yield head;
  yield* rest;
}

/** Pushes all bytes that can be unpacked; only then throws if the file is truncated or damaged. */
async function gunzip(
  packed: AsyncGenerator<Buffer>,
  reading: Reading,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const unpack = createGunzip();
  let thrown: unknown;
  unpack.on('data', (chunk: Buffer) => {
    if (thrown !== undefined) return;
    try {
      reading.push(chunk);
    } catch (error) {
      thrown = error;
    }
  });
  let damage: unknown;
  const ended = once(unpack, 'end').catch((error: unknown) => {
    damage = error;
  });
  for await (const chunk of packed) {
    if (thrown !== undefined || damage !== undefined) break;
    if (!unpack.write(chunk)) await Promise.race([once(unpack, 'drain').catch(() => {}), ended]);
  }
  if (signal.aborted || thrown !== undefined) {
    unpack.destroy();
    if (thrown !== undefined) throw thrown;
    return;
  }
  unpack.end();
  await ended;
  if (thrown !== undefined) throw thrown;
  if (damage === undefined) return;
  reading.cut();
  const truncated = (damage as NodeJS.ErrnoException).code === 'Z_BUF_ERROR';
  throw new TracerError(
    'bad_recording',
    truncated
      ? 'the recording is truncated (its gzip stream ends too early); the lines before the end were read'
      : 'the recording is damaged (its gzip stream cannot be unpacked); the lines before the damage were read',
    {
      where: name,
      remedy: 'after a crash this is expected, and the recording can still be used',
      cause: damage,
    },
  );
}
