import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { readStat } from '../../server/src/collector/host/proc.ts';

/** Where the lab keeps what it built, outside the repository. */
export const cacheRoot = (): string =>
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vfio-dmabuf-tracer', 'lab');

/** A short digest of texts and of the contents of files and folders: the key of what is built from them. */
export const digest = (texts: readonly string[], paths: readonly string[] = []): string => {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  for (const path of paths) {
    for (const file of filesBelow(path)) {
      hash.update(`${relative(dirname(path), file)}\0`);
      hash.update(readFileSync(file));
    }
  }
  return hash.digest('hex').slice(0, 16);
};

const filesBelow = (path: string): string[] =>
  statSync(path).isFile()
    ? [path]
    : readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .sort();

/** Folders of one name that stay next to the newest: two checkouts with different parts share the cache and rebuild nothing. */
const OTHERS_KEPT = 2;

/** Marks a folder of the cache as used now. */
export const markUsed = (directory: string): void => {
  const now = new Date();
  utimesSync(directory, now, now);
};

/** Removes the folders NAME-KEY that were used least recently, but for `kept` of them. */
export const removeLeastUsed = (
  root: string,
  name: string,
  kept: number,
  log: (line: string) => void,
): void => {
  const used = readdirSync(root)
    .filter((entry) => entry.slice(0, entry.lastIndexOf('-')) === name && !entry.endsWith('.partial'))
    .map((entry) => ({ entry, at: statSync(join(root, entry)).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { entry } of used.slice(kept)) {
    log(`${name}: removing ${entry}, which was not used for the longest time`);
    rmSync(join(root, entry), { recursive: true, force: true });
  }
};

/**
 * The folder NAME-KEY of the cache, built by `build` when it is not there. It is built under another name and renamed
 * when it is whole, so what has the name can be trusted. A few folders of the same name with other keys stay.
 */
export const cached = async (
  name: string,
  key: string,
  log: (line: string) => void,
  build: (directory: string) => Promise<void>,
): Promise<string> => {
  const final = join(cacheRoot(), `${name}-${key}`);
  if (!existsSync(final)) await withCacheLock(name, log, () => buildPart(name, final, log, build));
  markUsed(final);
  return final;
};

/** Builds a folder of the cache, unless another process has done so before this one got the lock. */
const buildPart = async (
  name: string,
  final: string,
  log: (line: string) => void,
  build: (directory: string) => Promise<void>,
): Promise<void> => {
  if (existsSync(final)) return;
  const root = cacheRoot();
  for (const entry of readdirSync(root)) {
    // This process holds the lock of the name: nobody is building it.
    if (!entry.endsWith('.partial') || entry.slice(0, entry.lastIndexOf('-')) !== name) continue;
    log(`${name}: removing half-built ${entry}`);
    rmSync(join(root, entry), { recursive: true, force: true });
  }
  removeLeastUsed(root, name, OTHERS_KEPT, log);
  const partial = `${final}.partial`;
  mkdirSync(partial);
  log(`${name}: building`);
  const started = Date.now();
  await build(partial);
  renameSync(partial, final);
  log(`${name}: built in ${Math.round((Date.now() - started) / 1000)} s`);
};

/** A process that lives by its number and its start, which no later one of that number shares; undefined where it is gone. */
const processOf = async (pid: number): Promise<string | undefined> => {
  const stat = await readStat('/proc', pid);
  return stat === null ? undefined : `${pid} ${stat.startTicks}`;
};

/** Has one process at a time build what has this name; the lock of a process that is gone is taken over. */
export const withCacheLock = async <T>(
  name: string,
  log: (line: string) => void,
  action: () => Promise<T>,
): Promise<T> => {
  const lock = join(cacheRoot(), 'locks', name);
  mkdirSync(dirname(lock), { recursive: true });
  for (let told = false; ; ) {
    try {
      writeFileSync(lock, `${await processOf(process.pid)}\n`, { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = existsSync(lock) ? readFileSync(lock, 'utf8').trim() : '';
      const pid = Number(holder.split(' ')[0]);
      if (pid > 0 && (await processOf(pid)) !== holder) {
        rmSync(lock, { force: true });
        continue;
      }
      if (!told) log(`${name}: waiting for process ${pid}, which builds it`);
      told = true;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  try {
    return await action();
  } finally {
    rmSync(lock, { force: true });
  }
};
