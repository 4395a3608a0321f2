import { constants, fstat, type Stats, write } from 'node:fs';
import { type FileHandle, lstat, open, realpath, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { systemClock } from './clock.ts';
import { TracerError } from './errors.ts';

/** What happens where a regular file of that name exists. */
export type Existing = 'fail' | 'replace' | 'number';

export interface WriteTarget {
  /** What is written to: the path given, or the one with a number. */
  path: string;
  /** A regular file: what is written stays. Else somebody reads at the other end. */
  isFile: boolean;
  sink: Writable;
}

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Only its owner: a stream names processes, VMs and devices. */
const MODE = 0o600;
const MOST_NUMBERS = 10_000;
const READER_MS = 100;
const FULL_MS = { first: 1, most: 20 };
const OWN_DESCRIPTOR = /^(?:\/dev\/(?:fd\/(\d+)|(stdin|stdout|stderr))|\/proc\/self\/fd\/(\d+))$/;
const statOf: (fd: number) => Promise<Stats> = promisify(fstat);
const NUMBERS: Readonly<Record<string, number>> = { stdin: 0, stdout: 1, stderr: 2 };

/**
 * Opens what a user named as the place to write to, so that nothing else is harmed: a new file is created, readable for its owner only;
 * an existing one is kept unless `existing` is `replace`; a symbolic link to a file is not followed, for in a folder of others it may
 * lead anywhere. Pipes, character devices and the program's own descriptors are written to as they are. No write and no wait for a
 * reader blocks a thread, so the program can always end.
 *
 * @param signal ends the wait for a reader of a named pipe
 * @param onWait called once where that wait begins
 * @returns null where the signal has ended that wait
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
    if (found.isFile()) return await besideFile(path, existing);
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
  // O_EXCL follows no link either, also one that leads nowhere.
  return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE);
}

function created(path: string, handle: FileHandle): WriteTarget {
  return { path, isFile: true, sink: new DescriptorSink(handle.fd, handle) };
}

async function besideFile(path: string, existing: Existing): Promise<WriteTarget> {
  switch (existing) {
    case 'fail':
      throw new TracerError('file_unwritable', 'the file exists, and is kept', {
        where: path,
        remedy: 'name another file, or replace it with --overwrite',
      });
    case 'replace':
      // A new file and not the old one emptied: that may have readers, another owner and other names.
      await unlink(path);
      return created(path, await create(path));
    case 'number':
      for (let number = 2; number <= MOST_NUMBERS; number++) {
        const other = numbered(path, number);
        const handle = await create(other).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return null;
          throw error;
        });
        if (handle !== null) return created(other, handle);
      }
      throw unwritable(path, `${MOST_NUMBERS} files of this name exist`);
    default:
      return existing satisfies never;
  }
}

/** `stream.2.ndjson.gz` of `stream.ndjson.gz`: the ending says what is in it. */
function numbered(path: string, number: number): string {
  const name = basename(path);
  const dot = name.indexOf('.', 1);
  const [stem, ending] = dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot)];
  return join(dirname(path), `${stem}.${number}${ending}`);
}

/** /dev/virtio-ports/NAME is a link to a device; it is followed where only root or this user can have made it. */
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

/** A named pipe or a character device. The first has to have a reader (ENXIO), which is waited for. */
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
      await systemClock.sleep(READER_MS, signal);
      continue;
    }
    const found = await handle.stat();
    if (found.isFIFO() || found.isCharacterDevice()) {
      return { path, isFile: false, sink: new DescriptorSink(handle.fd, handle) };
    }
    await handle.close();
    throw unwritable(path, 'it has just become something else');
  }
}

/** A descriptor that whoever started the program has opened: a file goes on where it stands, and is not emptied. */
async function ownDescriptor(path: string, fd: number): Promise<WriteTarget> {
  const found = await statOf(fd);
  if (found.isFIFO() || found.isCharacterDevice()) {
    // Opened again for O_NONBLOCK, which would be shared with others. Another user's pipe cannot be, and is written to as it is.
    const handle = await open(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK).catch(() => null);
    if (handle !== null) return { path, isFile: false, sink: new DescriptorSink(handle.fd, handle) };
  }
  return { path, isFile: found.isFile(), sink: new DescriptorSink(fd, null) };
}

/** Writes to a descriptor, at its place. One that cannot take more (EAGAIN) is asked again until it can, or until the sink is destroyed. */
class DescriptorSink extends Writable {
  readonly #fd: number;
  /** Closed at the end; null where the descriptor is not ours to close. */
  readonly #handle: FileHandle | null;
  #retry: NodeJS.Timeout | undefined;
  #done: ((error: Error) => void) | undefined;
  /** A write is on its way to the kernel: the descriptor stays open until it is back. */
  #writing = false;
  #closeWhenBack: (() => void) | undefined;

  constructor(fd: number, handle: FileHandle | null) {
    super({ decodeStrings: true });
    this.#fd = fd;
    this.#handle = handle;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#done = done;
    this.#writeRest(chunk, FULL_MS.first, (error) => {
      this.#done = undefined;
      done(error);
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#retry);
    this.#done?.(error ?? new Error('closed before it was written'));
    this.#done = undefined;
    const close = (): void => {
      if (this.#handle === null) done(error);
      else this.#handle.close().then(() => done(error), done);
    };
    if (this.#writing) this.#closeWhenBack = close;
    else close();
  }

  #writeRest(rest: Buffer, retryMs: number, done: (error?: Error | null) => void): void {
    this.#writing = true;
    write(this.#fd, rest, 0, rest.length, null, (error, bytes) => {
      this.#writing = false;
      if (this.destroyed) {
        this.#closeWhenBack?.();
        return;
      }
      if (error !== null && error.code !== 'EAGAIN') return done(error);
      const left = error === null ? rest.subarray(bytes) : rest;
      if (left.length === 0) return done();
      if (error === null) return this.#writeRest(left, FULL_MS.first, done);
      this.#retry = setTimeout(() => {
        this.#writeRest(left, Math.min(FULL_MS.most, retryMs * 2), done);
      }, retryMs);
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
    remedy:
      'give a path in a folder that exists and that this user may write to, a pipe or a character device',
    cause,
  });
}
