import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join, resolve } from 'node:path';
import { isAbsent, isDenied, orAbsent } from '../lib/errno.ts';

/** A TCP socket that listens. */
export interface Listener {
  inode: number;
  /** An address at which a program on this host can connect. */
  host: string;
  port: number;
}

export interface ProgramListeners {
  listeners: Listener[];
  /** Processes of the program whose sockets this user may not see. */
  denied: number[];
}

/** TCP_LISTEN of the kernel. */
const LISTEN = '0A';

/**
 * The sockets on which a program listens: those of all processes that run this file in the mount namespace of this
 * process. A container has a mount namespace of its own, also if it shares the pids of its host. To see the sockets of
 * another user, this process needs CAP_SYS_PTRACE (proc(5)).
 *
 * @param program real path of the file
 */
export async function listenersOf(program: string, procRoot = '/proc'): Promise<ProgramListeners> {
  const ours = await readlink(join(procRoot, 'self/ns/mnt'));
  const inodes = new Set<string>();
  const denied: number[] = [];
  for (const pid of (await readdir(procRoot)).filter((name) => /^\d+$/.test(name))) {
    const folder = join(procRoot, pid);
    try {
      if (!(await runs(folder, program))) continue;
      if ((await readlink(join(folder, 'ns/mnt'))) !== ours) continue;
      for (const fd of await readdir(join(folder, 'fd'))) {
        const inode = /^socket:\[(\d+)\]$/.exec(await orAbsent(readlink(join(folder, 'fd', fd)), ''))?.[1];
        if (inode !== undefined) inodes.add(inode);
      }
    } catch (error) {
      if (isDenied(error)) denied.push(Number(pid));
      else if (!isAbsent(error)) throw error;
    }
  }
  const tables = ['tcp', 'tcp6'].map((name) =>
    orAbsent(readFile(join(procRoot, 'self/net', name), 'utf8'), ''),
  );
  const all = (await Promise.all(tables)).flatMap(parseListeners);
  return { listeners: all.filter(({ inode }) => inodes.has(String(inode))), denied };
}

/** Whether an argument of the process is the program, directly or through symbolic links. */
async function runs(folder: string, program: string): Promise<boolean> {
  const args = (await readFile(join(folder, 'cmdline'), 'utf8')).split('\0');
  for (const arg of args.filter((arg) => /(?:^|\/)vfio-dmabuf-tracer(?:\.mjs)?$/.test(arg))) {
    const cwd = arg.startsWith('/') ? '/' : await readlink(join(folder, 'cwd'));
    if ((await orAbsent(realpath(resolve(cwd, arg)), '')) === program) return true;
  }
  return false;
}

/** Parses /proc/net/tcp or tcp6. */
export function parseListeners(text: string): Listener[] {
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state !== LISTEN) return [];
    const [address = '', port = ''] = local.split(':');
    return [{ inode: Number(inode), host: hostOf(address), port: Number.parseInt(port, 16) }];
  });
}

/** The kernel prints an address as words of 32 bits in the byte order of the host. */
function hostOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  if (endianness() === 'LE') bytes.swap32();
  // Node's sockets for all IPv6 addresses also accept IPv4, and a container may have no IPv6 on its loopback device.
  if (bytes.every((byte) => byte === 0)) return '127.0.0.1';
  if (bytes.length === 4) return bytes.join('.');
  return (bytes.toString('hex').match(/.{4}/g) ?? []).join(':');
}
