import { constants, fstat, type Stats, write } from 'node:fs';
import { type FileHandle, lstat, open, realpath, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { BackOff, type BackOffOptions } from './back-off.ts';
import { systemClock } from './clock.ts';
import { TracerError } from './errors.ts';

/** What to do if a regular file of that name exists. */
export type Existing = 'fail' | 'replace' | 'number';

export interface WriteTarget {
  /** The path that is written: the given one, or a numbered one. */
  path: string;
  /** True for a regular file, false for a pipe or a character device. */
  isFile: boolean;
  sink: Writable;
}

/** An open file, pipe or character device. */
export interface Descriptor extends Omit<WriteTarget, 'sink'> {
  fd: number;
  /** Closes `fd`; null for a descriptor of the parent process, which stays open. */
  handle: FileHandle | null;
}

export interface OpenOptions {
  /** `append`: a regular file is created, or opened to append to it and to read it. */
  existing: Existing | 'append';
  /** Ends the wait for a reader of a named pipe. */
  signal: AbortSignal;
  /** Called once when that wait starts. */
  onWait?: (() => void) | undefined;
  /** What is written, for error messages. */
  what: 'recording' | 'event output';
}

const { O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Readable for the owner only: a stream and its events name processes, VMs and devices. */
const MODE = 0o600;
const MAX_NUMBERS = 10_000;
/** Interval between checks whether a named pipe has a reader. */
const READER_POLL_MS = 100;
/** The pauses before a write is retried after EAGAIN. */
const EAGAIN_RETRY: BackOffOptions = { initialMs: 1, maxMs: 20 };
const REPLACED = 'it was replaced while it was opened';
const OWN_DESCRIPTOR = /^(?:\/dev\/(?:fd\/(\d+)|(stdin|stdout|stderr))|\/proc\/self\/fd\/(\d+))$/;
/** fstat(2). */
export const statOf: (fd: number) => Promise<Stats> = promisify(fstat);
const NUMBERS: Readonly<Record<string, number>> = { stdin: 0, stdout: 1, stderr: 2 };

/**
 * Opens the path that a user gave for a recording or for events, without damage to other files:
 * - A new file is readable for its owner only.
 * - An existing file is kept, unless `existing` is `replace` or `append`.
 * - A symbolic link to a file is not followed: in a folder of another user it may point anywhere.
 * - Pipes, character devices and the program's own descriptors are opened for writing.
 *
 * No wait for a reader blocks a thread, so the program can always exit.
 *
 * @returns null if the signal ended that wait
 * @throws TracerError `file_unwritable`
 */
export async function openDescriptor(path: string, options: OpenOptions): Promise<Descriptor | null> {
  const { existing, what } = options;
  try {
    const own = OWN_DESCRIPTOR.exec(path);
    if (own !== null) return await ownDescriptor(path, Number(own[1] ?? own[3] ?? NUMBERS[own[2] ?? '']));
    const found = await lstat(path).catch(ifMissing);
    if (found === null || found.isFile()) {
      if (existing === 'append') return await openToAppend(path);
      return found === null ? created(path, await create(path)) : await openExisting(path, existing);
    }
    if (found.isSymbolicLink()) return await throughLink(path, options);
    if (found.isFIFO() || found.isCharacterDevice()) return await openStream(path, path, options);
    throw new Unwritable(`it is ${found.isDirectory() ? 'a folder' : 'neither a file nor a pipe'}`);
  } catch (cause) {
    if (cause instanceof TracerError) throw cause;
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    const why = cause instanceof Unwritable ? cause.message : code;
    throw new TracerError('file_unwritable', `the ${what} cannot be written: ${why}`, {
      where: path,
      remedy: 'give a pipe, a character device, or a path in an existing folder that this user may write to',
      cause,
    });
  }
}

/**
 * Opens the path of a recording like `openDescriptor`, as a stream. No write blocks a thread.
 *
 * @param signal ends the wait for a reader of a named pipe
 * @param onWait called once when that wait starts
 * @returns null if the signal ended that wait
 * @throws TracerError `file_unwritable`
 */
export async function openTarget(
  path: string,
  existing: Existing,
  signal: AbortSignal,
  onWait?: () => void,
): Promise<WriteTarget | null> {
  const opened = await openDescriptor(path, { existing, signal, onWait, what: 'recording' });
  if (opened === null) return null;
  const { path: written, isFile, fd, handle } = opened;
  return { path: written, isFile, sink: new DescriptorSink(fd, handle) };
}

function create(path: string): Promise<FileHandle> {
  // O_EXCL does not follow a symbolic link either, not even a dangling one.
  return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
}

function created(path: string, handle: FileHandle): Descriptor {
  return { path, isFile: true, fd: handle.fd, handle };
}

/** In one call, because a rotation can rename or create the file at any time. O_NONBLOCK: it may become a pipe. */
async function openToAppend(path: string): Promise<Descriptor> {
  const handle = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, MODE);
  if ((await handle.stat()).isFile()) return created(path, handle);
  await handle.close();
  throw new Unwritable(REPLACED);
}

async function openExisting(path: string, existing: Existing): Promise<Descriptor> {
  switch (existing) {
    case 'fail':
      throw new TracerError('file_unwritable', 'the file exists and is kept', {
        where: path,
        remedy: 'name another file, or replace it with --overwrite',
      });
    case 'replace':
      // Creates a new file. The old one is not truncated: it may have readers, another owner and other hard links.
      await unlink(path);
      return created(path, await create(path));
    case 'number':
      for (let number = 2; number <= MAX_NUMBERS; number++) {
        const other = numbered(path, number);
        const handle = await create(other).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return null;
          throw error;
        });
        if (handle !== null) return created(other, handle);
      }
      throw new Unwritable(`${MAX_NUMBERS} numbered files of this name exist`);
    default:
      return existing satisfies never;
  }
}

/** `stream.ndjson.gz` -> `stream.2.ndjson.gz`: keeps the extension, which names the format. */
function numbered(path: string, number: number): string {
  const name = basename(path);
  const dot = name.indexOf('.', 1);
  const [stem, ending] = dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot)];
  return join(dirname(path), `${stem}.${number}${ending}`);
}

/**
 * Follows a link to a pipe or device, such as /dev/virtio-ports/NAME, if only root or this user can have created the
 * link.
 */
async function throughLink(path: string, options: OpenOptions): Promise<Descriptor | null> {
  const target = await stat(path).catch(ifMissing);
  const folder = await stat(dirname(path));
  const isTrusted = (folder.uid === 0 || folder.uid === process.geteuid?.()) && (folder.mode & 0o022) === 0;
  if (isTrusted && (target?.isFIFO() === true || target?.isCharacterDevice() === true)) {
    return await openStream(path, await realpath(path), options);
  }
  throw new TracerError('file_unwritable', 'it is a symbolic link, which is not followed', {
    where: path,
    remedy: 'give the path of the file itself',
  });
}

/** Opens a named pipe or a character device. Waits for a reader of the pipe: without one, open(2) fails with ENXIO. */
async function openStream(
  path: string,
  real: string,
  { signal, onWait }: OpenOptions,
): Promise<Descriptor | null> {
  for (let tries = 0; ; tries++) {
    if (signal.aborted) return null;
    const handle = await open(real, O_WRONLY | O_NONBLOCK | O_NOFOLLOW).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENXIO') return null;
        throw error;
      },
    );
    if (handle === null) {
      if (!(await lstat(real)).isFIFO()) throw new Unwritable('ENXIO');
      if (tries === 0) onWait?.();
      await systemClock.sleep(READER_POLL_MS, signal);
      continue;
    }
    const found = await handle.stat();
    if (found.isFIFO() || found.isCharacterDevice()) {
      return { path, isFile: false, fd: handle.fd, handle };
    }
    await handle.close();
    throw new Unwritable(REPLACED);
  }
}

/**
 * A descriptor that the parent process has opened. A file is written from its current position and is not truncated.
 */
async function ownDescriptor(path: string, fd: number): Promise<Descriptor> {
  const found = await statOf(fd);
  if (found.isFIFO() || found.isCharacterDevice()) {
    // Reopened for O_NONBLOCK: set on the inherited descriptor, it would affect other processes. If that fails (the
    // pipe of another user), the inherited descriptor is used.
    const handle = await open(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK).catch(() => null);
    if (handle !== null) return { path, isFile: false, fd: handle.fd, handle };
  }
  return { path, isFile: found.isFile(), fd, handle: null };
}

/** Writes to a descriptor at its current position. Retries after EAGAIN, until the sink is destroyed. */
class DescriptorSink extends Writable {
  readonly #fd: number;
  /** Closed at the end; null for an inherited descriptor, which stays open. */
  readonly #handle: FileHandle | null;
  readonly #backOff = new BackOff(EAGAIN_RETRY);
  #retry: NodeJS.Timeout | undefined;
  #done: ((error: Error) => void) | undefined;
  /** A write is pending: the descriptor is closed after its callback. */
  #writing = false;
  #closeAfterWrite: (() => void) | undefined;

  constructor(fd: number, handle: FileHandle | null) {
    super({ decodeStrings: true });
    this.#fd = fd;
    this.#handle = handle;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#done = done;
    this.#writeRest(chunk, (error) => {
      this.#done = undefined;
      done(error);
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#retry);
    this.#done?.(error ?? new Error('closed before the write completed'));
    this.#done = undefined;
    const close = (): void => {
      if (this.#handle === null) done(error);
      else this.#handle.close().then(() => done(error), done);
    };
    if (this.#writing) this.#closeAfterWrite = close;
    else close();
  }

  #writeRest(rest: Buffer, done: (error?: Error | null) => void): void {
    this.#writing = true;
    write(this.#fd, rest, 0, rest.length, null, (error, bytes) => {
      this.#writing = false;
      if (this.destroyed) {
        this.#closeAfterWrite?.();
        return;
      }
      if (error !== null && error.code !== 'EAGAIN') return done(error);
      if (error !== null) {
        this.#retry = setTimeout(() => this.#writeRest(rest, done), this.#backOff.next());
        return;
      }
      this.#backOff.reset();
      const left = rest.subarray(bytes);
      if (left.length === 0) done();
      else this.#writeRest(left, done);
    });
  }
}

function ifMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

/** Why a path cannot be written, without the error of a system call. */
class Unwritable extends Error {}
