import { chmod, chown, link, lstat, mkdir, mkdtemp, rename, rm, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { TracerError } from '../lib/errors.ts';

/** Owner and group may connect. The kernel checks this at connect(2), which needs write permission. */
const MODE = 0o660;
/** The longest path of a unix socket: sun_path has 108 bytes, with the zero at its end. */
const LONGEST_PATH = 107;
/** The owner of a full backlog of connections may be slow. */
const ANSWER_MS = 2000;

/** A socket file that this process has created. */
export interface SocketFile {
  /** Removes the file, if it is still this one. */
  remove(): Promise<void>;
}

/**
 * Lets the server listen on a unix socket at this path. The socket is created in a private folder and gets its mode and
 * group there, so at no moment others can connect. A socket on which nobody answers is replaced: its collector has
 * ended. Anything else at this path is kept.
 *
 * @param gid group of the socket; null for the group of this process
 * @throws TracerError `address_unavailable`
 */
export async function listenAt(server: Server, path: string, gid: number | null): Promise<SocketFile> {
  const folder = dirname(path);
  let workplace: string | null = null;
  try {
    await mkdir(folder, { mode: 0o755 }).catch(ifExists);
    workplace = await mkdtemp(join(folder, '.s'));
    const created = join(workplace, 's');
    if (Math.max(Buffer.byteLength(path), Buffer.byteLength(created)) > LONGEST_PATH)
      throw unavailable(path, 'the path is too long for a unix socket', 'give a shorter path');
    await listen(server, created);
    if (gid !== null) await chown(created, -1, gid).catch((cause) => failToChown(path, gid, cause));
    await chmod(created, MODE);
    const { ino } = await lstat(created);
    await removeStale(path, join(workplace, 'old'));
    // link(2) fails if there is a file of that name; rename(2) would replace it.
    await link(created, path);
    await unlink(created);
    return { remove: () => removeOwn(path, ino) };
  } catch (cause) {
    server.close();
    if (cause instanceof TracerError) throw cause;
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw inUse(path);
    const remedy = `create the folder ${folder}, or let this user write to it`;
    throw unavailable(path, code, remedy, cause);
  } finally {
    if (workplace !== null) await rm(workplace, { recursive: true, force: true });
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Removes a socket on which nobody answers. `aside` is a free path in the same file system. */
async function removeStale(path: string, aside: string): Promise<void> {
  const found = await lstat(path).catch(ifMissing);
  if (found === null) return;
  if (!found.isSocket()) {
    const remedy = `choose another path with --collector.socket, or remove ${basename(path)} yourself`;
    throw unavailable(path, 'there is a file of that name that is not a socket; it is kept', remedy);
  }
  if (await isAnswered(path)) throw inUse(path);
  await rename(path, aside);
  if ((await lstat(aside)).ino === found.ino) return;
  // Another collector has replaced the stale socket meanwhile: it gets its own back.
  await link(aside, path);
  throw inUse(path);
}

/** Whether a process listens on the socket. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setTimeout(ANSWER_MS, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

async function removeOwn(path: string, ino: number): Promise<void> {
  const found = await lstat(path).catch(ifMissing);
  if (found?.ino === ino && found.isSocket()) await unlink(path).catch(ifMissing);
}

function failToChown(path: string, gid: number, cause: unknown): never {
  const remedy = 'run as root, or choose a group of this user with --collector.group';
  throw unavailable(path, `the socket cannot be given to the group ${gid}`, remedy, cause);
}

function inUse(path: string): TracerError {
  const remedy = 'stop the other collector, or choose another path with --collector.socket';
  return unavailable(path, 'another collector listens on this socket', remedy);
}

function unavailable(where: string, why: string, remedy: string, cause?: unknown): TracerError {
  return new TracerError('address_unavailable', `cannot listen on the socket: ${why}`, {
    where,
    remedy,
    cause,
  });
}

function ifMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}

function ifExists(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
