import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { copiedFolders, root } from '../build-options.mjs';
import { Builder, type Bundle, writeProgram } from './builder.ts';
import type { Front } from './front.ts';
import { Program } from './program.ts';
import { SourceWatcher } from './source-watcher.ts';

const COPIED = Object.values(copiedFolders);
const SOURCES = ['server/src', 'server/web', ...COPIED];

export interface DevServerOptions {
  front: Front;
  /** URL of the front. */
  url: string;
  /** Folder for the builds; only this process uses it. */
  directory: string;
  recording: string;
  flags: readonly string[];
  print: (line: string) => void;
}

/**
 * Builds at the start and after each change, and passes the result to the front. Until then the last good build is
 * served.
 */
export class DevServer {
  readonly #options: DevServerOptions;
  readonly #builder: Builder;
  readonly #watcher: SourceWatcher;
  /** The program that is served now. */
  #current: Program | undefined;
  /** The program that is starting; becomes the current one when it is ready. */
  #next: Program | undefined;
  /** Hash of the program that was started last. */
  #programHash = '';
  /** The newest page; it is served with the program that was started last. */
  #page: Bundle = { hash: '', files: new Map() };
  #starts = 0;
  #changed: string[] = [];
  #building: Promise<void> | undefined;
  #stopping = false;
  readonly #stops = new Set<Promise<void>>();

  constructor(options: DevServerOptions) {
    this.#options = options;
    this.#builder = new Builder(join(options.directory, 'build'));
    this.#watcher = new SourceWatcher(
      SOURCES.map((folder) => join(root, folder)),
      (paths) => this.#onChange(paths),
    );
  }

  async start(): Promise<void> {
    await this.#builder.start();
    this.#watcher.start();
    this.#onChange([]);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#watcher.stop();
    await this.#building;
    for (const program of [this.#current, this.#next]) if (program !== undefined) this.#retire(program);
    await Promise.all(this.#stops);
    await this.#builder.stop();
  }

  #onChange(paths: readonly string[]): void {
    this.#changed.push(...paths);
    this.#building ??= this.#buildUntilQuiet().finally(() => {
      this.#building = undefined;
    });
  }

  /** Builds again if files changed during the build. */
  async #buildUntilQuiet(): Promise<void> {
    do {
      const changed = this.#changed.map((path) => relative(root, path));
      this.#changed = [];
      await this.#build([...new Set(changed)]);
    } while (this.#changed.length > 0 && !this.#stopping);
  }

  async #build(changed: readonly string[]): Promise<void> {
    const { front, print } = this.#options;
    const began = performance.now();
    if (changed.length > 0) print(`changed: ${changed.join(', ')}`);
    const built = await this.#builder.build();
    if (this.#stopping) return;
    if ('error' in built) {
      const kept = this.#current === undefined ? 'nothing is served' : 'the last good build is served';
      print(`the build failed; ${kept} until the next save\n\n${built.error.trimEnd()}\n`);
      front.report(`the build failed\n\n${built.error}`);
      return;
    }
    front.report('');
    const { program, page } = built;
    const samePage = page.hash === this.#page.hash;
    this.#page = page;
    const copied = changed.some((path) => COPIED.some((folder) => path.startsWith(`${folder}/`)));
    if (program.hash !== this.#programHash || copied) {
      this.#programHash = program.hash;
      this.#startProgram(program, began);
    } else if (this.#next !== undefined) {
      print('built; the page will be served with the program that is starting');
    } else if (samePage) {
      print('built; nothing that is served has changed');
    } else {
      front.serve(this.#current?.port, page.files);
      print(`the new page is served, ${seconds(began)} after the change`);
    }
  }

  #startProgram(bundle: Bundle, began: number): void {
    const { directory, recording, flags } = this.#options;
    if (this.#next !== undefined) this.#retire(this.#next);
    this.#starts += 1;
    const program = new Program({ directory: join(directory, `program-${this.#starts}`), recording, flags });
    writeProgram(program.directory, bundle.files, this.#page.files);
    program.start();
    this.#next = program;
    void program.ready().then((ready) => {
      if (ready !== 'ended') this.#replaceBy(program, ready === 'whole', began);
    });
    void program.ended.then((reason) => this.#onEnd(program, reason));
  }

  #replaceBy(program: Program, whole: boolean, began: number): void {
    if (this.#stopping || program !== this.#next) return;
    const { front, url, print } = this.#options;
    const first = this.#current === undefined;
    if (this.#current !== undefined) this.#retire(this.#current);
    this.#current = program;
    this.#next = undefined;
    front.report('');
    front.serve(program.port, this.#page.files);
    const rest = whole ? '' : '; it still reads the recording';
    if (first) print(`ready after ${seconds(began)}: ${url}${rest}`);
    else print(`the new program is served, ${seconds(began)} after the change${rest}`);
  }

  /** Handles a program that ended by itself. The next save starts another one. */
  #onEnd(program: Program, reason: string): void {
    const { front, print } = this.#options;
    if (this.#stopping || (program !== this.#next && program !== this.#current)) return;
    this.#programHash = '';
    if (program === this.#next) this.#next = undefined;
    if (program === this.#current) {
      this.#current = undefined;
      front.serve(undefined, new Map());
    }
    const kept = this.#current === undefined ? 'nothing is served' : 'the last good build is served';
    const problem = `the program ended with ${reason}; its output is above`;
    print(`${problem}. Until the next save ${kept}`);
    front.report(problem.replace('above', 'in the terminal'));
  }

  /**
   * Stops a program and then removes its files. It may load chunks until it ends, so its files must exist until then.
   */
  #retire(program: Program): void {
    if (this.#current === program) this.#current = undefined;
    if (this.#next === program) this.#next = undefined;
    const stop = program.stop().then(() => {
      rmSync(program.directory, { recursive: true, force: true });
      this.#stops.delete(stop);
    });
    this.#stops.add(stop);
  }
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
