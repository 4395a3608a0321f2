import { write } from 'node:fs';
import { promisify } from 'node:util';
import type { StartLine } from '../contract/event-output.ts';
import type { TracerEvent } from '../contract/events.ts';
import { BackOff } from '../lib/back-off.ts';
import type { Clock } from '../lib/clock.ts';
import { withinDeadline } from '../lib/deadline.ts';
import { TracerError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { Throttle } from '../lib/throttle.ts';
import { type Descriptor, openDescriptor, statOf } from '../lib/write-target.ts';
import { type OutputFilter, outputMatcher } from './output-filter.ts';
import { type Batch, OutputQueue } from './output-queue.ts';

/** Writes bytes to a descriptor. Returns the number of bytes that were written, which can be fewer. */
export type Write = (fd: number, bytes: Buffer) => Promise<number>;

export interface EventOutputOptions {
  /** A file, a named pipe or a character device; `-` is standard output. */
  path: string;
  /** Name of the event log. Each line has it. */
  log: string;
  version: string;
  filter: OutputFilter;
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  clock: Clock;
  /** Most bytes of lines that wait; beyond it, events are dropped. Default 8 MiB. */
  maxPendingBytes?: number;
  /** Milliseconds that stop() waits for pending lines to be written; default 3000. */
  stopMs?: number;
  /** Default: write(2) at the current position. */
  write?: Write;
}

const LOG_EVERY_MS = 60_000;
const LINE_FEED = Buffer.from('\n');
/** A full disk does not prevent the start of the daemon. Any other error of the first open does. */
const FULL = ['ENOSPC', 'EDQUOT'];
const FIX_BY_CODE: Readonly<Record<string, string>> = {
  EACCES: `let user ${process.geteuid?.()} read and write the file, and create it in its folder; \`run --server-user=USER\` changes this user`,
  EROFS:
    'name a file in a folder that this process may write to; in a unit of systemd, LogsDirectory= makes one (docs/event-output.md)',
  ENOSPC: 'free disk space',
  EPIPE: 'start the program that reads the events',
};

/**
 * Writes events as lines of JSON to a file, a pipe or standard output, in the background: `append` never blocks and
 * never throws. A failed write is retried until it succeeds, and events wait meanwhile. Every line in a file is whole,
 * except for the last one if the process is killed or the disk is full; a later line then begins on a new line.
 */
export class EventOutput {
  /** Events written. */
  written = 0;
  readonly #options: EventOutputOptions;
  readonly #path: string;
  readonly #matches: (event: TracerEvent) => boolean;
  readonly #queue: OutputQueue;
  readonly #failures: Throttle;
  readonly #drops: Throttle;
  readonly #retry = new BackOff({ initialMs: 100, maxMs: 5000 });
  /** The pauses after EAGAIN: the reader of a pipe is slower than the events. */
  readonly #slow = new BackOff({ initialMs: 1, maxMs: 50 });
  readonly #stopRequest = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #target: Descriptor | null = null;
  /** The lines that are being written, and how many of their bytes were. */
  #batch: Batch | null = null;
  #offset = 0;
  #mustReopen = false;
  #isReopenFailed = false;
  #isWriteFailed = false;
  #isFailureLogged = false;
  /** The stop has reached its deadline. */
  #isAbandoned = false;
  /** Ends the wait of the writing loop. */
  #endWait = (): void => {};
  /** The loop waits for an event, not for the next retry. */
  #isIdle = false;

  constructor(options: EventOutputOptions) {
    const { path, log, filter, clock, maxPendingBytes = 8 * 1024 * 1024 } = options;
    this.#options = options;
    this.#path = path === '-' ? '/dev/stdout' : path;
    this.#matches = outputMatcher(filter);
    this.#queue = new OutputQueue({ log, maxBytes: maxPendingBytes });
    this.#failures = new Throttle({ clock, everyMs: LOG_EVERY_MS });
    this.#drops = new Throttle({ clock, everyMs: LOG_EVERY_MS });
  }

  /** Events dropped because too many bytes waited. */
  get dropped(): number {
    return this.#queue.dropped;
  }

  /** False if the last open or write failed, or while a named pipe has no reader. */
  get up(): boolean {
    return this.#target !== null && !this.#isReopenFailed && !this.#isWriteFailed;
  }

  /**
   * Opens the output. Does not wait for the reader of a named pipe, or for space on a full disk.
   *
   * @throws TracerError `file_unwritable`
   */
  async start(): Promise<void> {
    const { log, version, filter, clock } = this.#options;
    const time = new Date(clock.wallMs()).toISOString();
    this.#queue.pushRecord({ log, time, kind: 'start', version, ...filter } satisfies StartLine);
    await new Promise<void>((resolve, reject) => {
      let isWaiting = false;
      const opening = this.#open(() => {
        isWaiting = true;
        resolve();
      }).catch((error: unknown) => {
        if (!isWaiting && !FULL.includes(codeOf(error))) throw error;
        this.#noteFailure(error);
      });
      this.#running = opening.then(() => {
        resolve();
        return this.#run();
      }, reject);
    });
  }

  append(event: TracerEvent): void {
    if (!this.#matches(event)) return;
    if (this.#queue.push(event)) {
      if (this.#isIdle) this.#endWait();
      return;
    }
    const notLogged = this.#drops.pass();
    if (notLogged === undefined) return;
    const { path: file, logger } = this.#options;
    logger.error(
      { file, dropped: this.dropped, not_logged: notLogged },
      'events are dropped: the event output is too slow or cannot be written',
    );
  }

  /** Opens a file by its path again, after it was renamed. Lines before it are in the old file, later ones in the new one. */
  reopen(): void {
    // A pipe has no other place, and a descriptor of the parent process has no path.
    if (this.#target !== null && !(this.#target.isFile && this.#target.handle !== null)) return;
    this.#mustReopen = true;
    this.#endWait();
  }

  /** Writes the lines that wait and closes the file. Drops lines that are not written in time. Never rejects. */
  async stop(): Promise<void> {
    this.#stopRequest.abort();
    this.#endWait();
    if (!(await withinDeadline(this.#running, this.#options.stopMs ?? 3000))) {
      this.#isAbandoned = true;
      this.#endWait();
    }
    const { path: file, logger } = this.#options;
    const missing = this.#queue.events;
    if (missing > 0)
      logger.error({ file, written: this.written, missing }, 'the last events were not written');
  }

  /** The writing loop. It ends after a stop. */
  async #run(): Promise<void> {
    const { signal } = this.#stopRequest;
    while (!this.#isAbandoned) {
      try {
        if (this.#target === null) await this.#open();
        else if (this.#mustReopen && (this.#offset === 0 || this.#isWriteFailed)) await this.#reopen();
        // The stop has ended the wait for a reader.
        if (this.#target === null) break;
        this.#batch ??= this.#queue.take();
        if (this.#batch !== null) await this.#write(this.#target, this.#batch);
        else if (signal.aborted) break;
        else await this.#wait({ forEvent: true, ...(this.#mustReopen ? { ms: this.#retry.next() } : {}) });
      } catch (error) {
        if (codeOf(error) === 'EAGAIN') {
          await this.#wait({ ms: this.#slow.next(), forEvent: false });
          continue;
        }
        this.#isWriteFailed = true;
        this.#noteFailure(error);
        if (signal.aborted) break;
        await this.#wait({ ms: this.#retry.next(), forEvent: false });
      }
    }
    await this.#target?.handle?.close().catch(() => {});
  }

  async #write({ fd }: Descriptor, { bytes, events }: Batch): Promise<void> {
    const { write: writeBytes = writeTo } = this.#options;
    this.#offset += await writeBytes(fd, bytes.subarray(this.#offset));
    this.#slow.reset();
    if (this.#offset < bytes.length) return;
    this.written += events;
    this.#batch = null;
    this.#offset = 0;
    this.#queue.release();
    this.#retry.reset();
    this.#isWriteFailed = false;
    if (this.#isFailureLogged && this.up) {
      this.#isFailureLogged = false;
      const { path: file, logger } = this.#options;
      logger.info({ file, dropped: this.dropped }, 'events are written again');
    }
  }

  /** If the new file cannot be opened, the old one is used until the next try. */
  async #reopen(): Promise<void> {
    try {
      await this.#open();
      this.#isReopenFailed = false;
    } catch (error) {
      this.#isReopenFailed = true;
      this.#mustReopen = true;
      this.#noteFailure(error, 'the file cannot be opened again, and events go to the old one');
    }
  }

  /** @throws TracerError if the output cannot be opened */
  async #open(onWait?: () => void): Promise<void> {
    const { path: file, logger } = this.#options;
    // Before the open, because the file can be renamed again during it.
    this.#mustReopen = false;
    const opened = await openDescriptor(this.#path, {
      existing: 'append',
      signal: this.#stopRequest.signal,
      onWait: () => {
        logger.warn({ file }, 'the pipe for the events has no reader yet: events wait');
        onWait?.();
      },
      what: 'event output',
    }).catch((error: TracerError) => {
      throw withFix(error);
    });
    if (opened === null) return;
    const old = this.#target;
    const [isSame, isCut] = await Promise.all([isSameFile(old, opened), endsInsideLine(opened)]).catch(
      async (error) => {
        await opened.handle?.close();
        throw error;
      },
    );
    if (isSame) {
      await opened.handle?.close();
      return;
    }
    // A line that the old file has only in part is written to the new one as a whole.
    if (this.#batch !== null)
      this.#batch.bytes = this.#batch.bytes.subarray(lineStart(this.#batch.bytes, this.#offset));
    this.#offset = 0;
    if (isCut) {
      const { bytes = Buffer.alloc(0), events = 0 } = this.#batch ?? {};
      this.#batch = { bytes: Buffer.concat([LINE_FEED, bytes]), events };
    }
    this.#target = opened;
    await old?.handle?.close().catch(() => {});
    logger.info(
      { file },
      old === null ? 'events are written to this output' : 'the event output was opened again',
    );
  }

  #noteFailure(error: unknown, effect = 'events cannot be written, and wait in memory'): void {
    const notLogged = this.#failures.pass();
    if (notLogged === undefined) return;
    this.#isFailureLogged = true;
    const { path: file, logger } = this.#options;
    const { message } = error as Error;
    const remedy = error instanceof TracerError ? error.remedy : FIX_BY_CODE[codeOf(error)];
    logger.error(
      { file, remedy, waiting: this.#queue.events, not_logged: notLogged },
      `${effect}: ${message}`,
    );
  }

  /** Waits for an event, for this number of milliseconds, or for both, whichever is first. */
  async #wait({ ms, forEvent }: { ms?: number; forEvent: boolean }): Promise<void> {
    this.#isIdle = forEvent;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#endWait = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#isIdle = false;
  }
}

async function writeTo(fd: number, bytes: Buffer): Promise<number> {
  return (await promisify(write)(fd, bytes)).bytesWritten;
}

/** The code of an error of a system call, also if it is the cause of an error. */
function codeOf(error: unknown): string {
  const { code, cause } = error as NodeJS.ErrnoException;
  return error instanceof TracerError ? codeOf(cause ?? {}) : (code ?? '');
}

function withFix(error: TracerError): TracerError {
  const remedy = FIX_BY_CODE[codeOf(error)];
  if (remedy === undefined) return error;
  return new TracerError(error.code, error.message, { where: error.where ?? '', remedy, cause: error.cause });
}

/** Start of the line that has the byte at this offset. */
function lineStart(bytes: Buffer, offset: number): number {
  return offset === 0 ? 0 : bytes.lastIndexOf(LINE_FEED, offset - 1) + 1;
}

async function isSameFile(one: Descriptor | null, other: Descriptor): Promise<boolean> {
  if (one === null) return false;
  const [a, b] = await Promise.all([statOf(one.fd), statOf(other.fd)]);
  return a.dev === b.dev && a.ino === b.ino;
}

/** Whether a file that was opened by its path ends inside a line: the last run was killed while it wrote, or the disk was full. */
async function endsInsideLine({ isFile, fd, handle }: Descriptor): Promise<boolean> {
  if (!isFile || handle === null) return false;
  const { size } = await statOf(fd);
  if (size === 0) return false;
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
  return !buffer.equals(LINE_FEED);
}
