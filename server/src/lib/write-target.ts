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

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Readable for the owner only: a stream names processes, VMs and devices. */
const MODE = 0o600;
const MAX_NUMBERS = 10_000;
/** Interval between checks whether a named pipe has a reader. */
const READER_POLL_MS = 100;
/** The pauses before a write is retried after EAGAIN. */
const EAGAIN_RETRY: BackOffOptions = { initialMs: 1, maxMs: 20 };
const OWN_DESCRIPTOR = /^(?:\/dev\/(?:fd\/(\d+)|(stdin|stdout|stderr))|\/proc\/self\/fd\/(\d+))$/;
const statOf: (fd: number) => Promise<Stats> = promisify(fstat);
const NUMBERS: Readonly<Record<string, number>> = { stdin: 0, stdout: 1, stderr: 2 };

/**
 * Opens the path that a user gave for a recording, without damage to other files:
 * - A new file is readable for its owner only.
 * - An existing file is kept, unless `existing` is `replace`.
 * - A symbolic link to a file is not followed: in a folder of another user it may point anywhere.
 * - Pipes, character devices and the program's own descriptors are opened for writing.
 *
 * No write and no wait for a reader blocks a thread, so the program can always exit.
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
  onWait: () => void = () => {},
): Promise<WriteTarget | null> {
  try {
    const own = OWN_DESCRIPTOR.exec(path);
    if (own !== null) return await ownDescriptor(path, Number(own[1] ?? own[3] ?? NUMBERS[own[2] ?? '']));
    const found = await lstat(path).catch(ifMissing);
    if (found === null) return created(path, await create(path));
    if (found.isFile()) return await openExisting(path, existing);
    if (found.isSymbolicLink()) return await throughLink(path, signal, onWait);
    if (found.isFIFO() || found.isCharacterDevice()) return await openStream(path, path, signal, onWait);
    throw unwritable(path, `it is ${found.isDirectory() ? 'a folder' : 'neither a file nor a pipe'}`);
  } catch (cause) {
    if (cause instanceof TracerError) throw cause;
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw unwritable(path, String(code), cause);
  }
}

function create(path: string): Promise<FileHandle> {
  // O_EXCL does not follow a symbolic link either, not even a dangling one.
  return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
}

function created(path: string, handle: FileHandle): WriteTarget {
  return { path, isFile: true, sink: new DescriptorSink(handle.fd, handle) };
}

async function openExisting(path: string, existing: Existing): Promise<WriteTarget> {
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
      throw unwritable(path, `${MAX_NUMBERS} numbered files of this name exist`);
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
async function throughLink(
  path: string,
  signal: AbortSignal,
  onWait: () => void,
): Promise<WriteTarget | null> {
  const target = await stat(path).catch(ifMissing);
  const folder = await stat(dirname(path));
  const isTrusted = (folder.uid === 0 || folder.uid === process.geteuid?.()) && (folder.mode & 0o022) === 0;
  if (isTrusted && (target?.isFIFO() === true || target?.isCharacterDevice() === true)) {
    return await openStream(path, await realpath(path), signal, onWait);
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
  signal: AbortSignal,
  onWait: () => void,
): Promise<WriteTarget | null> {
  for (let tries = 0; ; tries++) {
    if (signal.aborted) return null;
    const handle = await open(real, O_WRONLY | O_NONBLOCK | O_NOFOLLOW).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENXIO') return null;
        throw error;
      },
    );
    if (handle === null) {
      if (!(await lstat(real)).isFIFO()) throw unwritable(path, 'ENXIO');
      if (tries === 0) onWait();
      await systemClock.sleep(READER_POLL_MS, signal);
      continue;
    }
    const found = await handle.stat();
    if (found.isFIFO() || found.isCharacterDevice()) {
      return { path, isFile: false, sink: new DescriptorSink(handle.fd, handle) };
    }
    await handle.close();
    throw unwritable(path, 'it was replaced while it was opened');
  }
}

/**
 * A descriptor that the parent process has opened. A file is written from its current position and is not truncated.
 */
async function ownDescriptor(path: string, fd: number): Promise<WriteTarget> {
  const found = await statOf(fd);
  if (found.isFIFO() || found.isCharacterDevice()) {
    // Reopened for O_NONBLOCK: set on the inherited descriptor, it would affect other processes. If that fails (the
    // pipe of another user), the inherited descriptor is used.
    const handle = await open(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK).catch(() => null);
    if (handle !== null) return { path, isFile: false, sink: new DescriptorSink(handle.fd, handle) };
  }
  return { path, isFile: found.isFile(), sink: new DescriptorSink(fd, null) };
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

function unwritable(path: string, why: string, cause?: unknown): TracerError {
  return new TracerError('file_unwritable', `the recording cannot be written: ${why}`, {
    where: path,
    remedy: 'give a pipe, a character device, or a path in an existing folder that this user may write to',
    cause,
  });
}
