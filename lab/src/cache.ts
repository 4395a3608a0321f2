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
import { readStat } from '../../server/src/host/proc.ts';

/** The lab's build cache, outside the repository. */
export function cacheRoot(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vfio-dmabuf-tracer', 'lab');
}

/** A short digest of texts and of the contents of files and folders: the cache key of what is built from them. */
export function digest(texts: readonly string[], paths: readonly string[] = []): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  for (const path of paths) {
    for (const file of filesBelow(path)) {
      hash.update(`${relative(dirname(path), file)}\0`);
      hash.update(readFileSync(file));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

function filesBelow(path: string): string[] {
  return statSync(path).isFile()
    ? [path]
    : readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .sort();
}

/** Older folders of one name that are kept, so that two checkouts can share the cache without rebuilding. */
const OTHERS_KEPT = 2;

/** Marks a folder of the cache as used now. */
export function markUsed(directory: string): void {
  const now = new Date();
  utimesSync(directory, now, now);
}

/** Keeps the `kept` most recently used folders NAME-KEY and removes the others. */
export function removeLeastUsed(root: string, name: string, kept: number, log: (line: string) => void): void {
  const used = readdirSync(root)
    .filter((entry) => entry.slice(0, entry.lastIndexOf('-')) === name && !entry.endsWith('.partial'))
    .map((entry) => ({ entry, at: statSync(join(root, entry)).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { entry } of used.slice(kept)) {
    log(`${name}: removing ${entry}, the least recently used`);
    rmSync(join(root, entry), { recursive: true, force: true });
  }
}

/**
 * Returns the folder NAME-KEY of the cache. Calls `build` if it does not exist. The build goes into a folder with
 * another name, which is renamed when it is complete, so a folder with the final name is always complete. Keeps some
 * folders with other keys.
 */
export async function cached(
  name: string,
  key: string,
  log: (line: string) => void,
  build: (directory: string) => Promise<void>,
): Promise<string> {
  const final = join(cacheRoot(), `${name}-${key}`);
  if (!existsSync(final)) await withCacheLock(name, log, () => buildPart(name, final, log, build));
  markUsed(final);
  return final;
}

/** Builds a folder of the cache, unless another process built it before this one got the lock. */
async function buildPart(
  name: string,
  final: string,
  log: (line: string) => void,
  build: (directory: string) => Promise<void>,
): Promise<void> {
  if (existsSync(final)) return;
  const root = cacheRoot();
  for (const entry of readdirSync(root)) {
    // This process has the lock of the name, so no other process is building this folder.
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
}

/** Identifies a running process by pid and start time, because a pid can be reused; undefined if it does not run. */
async function processOf(pid: number): Promise<string | undefined> {
  const stat = await readStat('/proc', pid);
  return stat === null ? undefined : `${pid} ${stat.startTicks}`;
}

/** Runs `action` while this process has the lock of the name. Takes over the lock of a process that no longer runs. */
export async function withCacheLock<T>(
  name: string,
  log: (line: string) => void,
  action: () => Promise<T>,
): Promise<T> {
  const lock = join(cacheRoot(), 'locks', name);
  mkdirSync(dirname(lock), { recursive: true });
  for (let reported = false; ; ) {
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
      if (!reported) log(`${name}: waiting for process ${pid}, which is building it`);
      reported = true;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  try {
    return await action();
  } finally {
    rmSync(lock, { force: true });
  }
}
