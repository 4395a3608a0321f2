import { type FSWatcher, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';

/** An editor writes a file in several operations. The build starts when there was no change for this time. */
const SETTLE_MS = 40;

/**
 * Reports the paths that change below some folders. It watches each folder separately, because `recursive` of Node 20
 * misses files that an editor replaces by a rename.
 */
export class SourceWatcher {
  readonly #roots: readonly string[];
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #onChange: (paths: string[]) => void;
  readonly #changed = new Set<string>();
  #settle: NodeJS.Timeout | undefined;

  constructor(roots: readonly string[], onChange: (paths: string[]) => void) {
    this.#roots = roots;
    this.#onChange = onChange;
  }

  start(): void {
    this.#watchFolders();
  }

  stop(): void {
    clearTimeout(this.#settle);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Also called after each change, because a change may add or remove a folder. */
  #watchFolders(): void {
    const folders = new Set(this.#roots.flatMap(foldersBelow));
    for (const [folder, watcher] of this.#watchers) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of folders) {
      if (this.#watchers.has(folder)) continue;
      const watcher = watch(folder, (_event, name) => this.#note(join(folder, name ?? '')));
      // When a folder is removed, its watcher emits an error. The next #watchFolders closes it.
      watcher.on('error', () => this.#note(folder));
      this.#watchers.set(folder, watcher);
    }
  }

  #note(path: string): void {
    if (isEditorFile(path)) return;
    this.#changed.add(path);
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => {
      this.#watchFolders();
      const paths = [...this.#changed];
      this.#changed.clear();
      this.#onChange(paths);
    }, SETTLE_MS);
  }
}

/** Backup and swap files of vim, Emacs and others. */
function isEditorFile(path: string): boolean {
  return /(~|\.sw[a-z]|\/4913|\/\.?#[^/]*)$/.test(path);
}

function foldersBelow(folder: string): string[] {
  try {
    const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [folder, ...below.flatMap(({ name }) => foldersBelow(join(folder, name)))];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
