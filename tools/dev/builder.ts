import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { gzipSync, brotliCompressSync as packBrotli, constants as zlib } from 'node:zlib';
import { type BuildContext, type BuildFailure, type BuildOptions, context, formatMessages } from 'esbuild';
import { copiedFolders, pageOptions, programOptions, root } from '../build-options.mjs';

/** Name (relative to the folder of the bundle) to content. */
export type BundleFiles = ReadonlyMap<string, Uint8Array>;

/** A bundle in memory. Two bundles with the same `hash` have the same files. */
export interface Bundle {
  hash: string;
  files: BundleFiles;
}

export type Built = { program: Bundle; page: Bundle } | { error: string };

const DEV = {
  minify: false,
  minifySyntax: false,
  minifyWhitespace: false,
  sourcemap: 'linked',
  write: false,
  // The messages are in `Built`.
  logLevel: 'silent',
} as const satisfies BuildOptions;

/**
 * Builds program and page in memory. esbuild caches what did not change, so a rebuild takes a fraction of the first
 * build.
 */
export class Builder {
  /**
   * Not written to. Source maps refer to the sources relative to it, and the program runs from a sibling of this
   * folder.
   */
  readonly #outdir: string;
  #program: BuildContext | undefined;
  #page: BuildContext | undefined;

  constructor(outdir: string) {
    this.#outdir = outdir;
  }

  async start(): Promise<void> {
    const outdir = this.#outdir;
    this.#program = await context({ ...programOptions, ...DEV, sourcesContent: false, outdir });
    // Names without a hash, because the dev server always serves the newest file of a name.
    const inject = ['tools/dev/reload-page.mjs'];
    this.#page = await context({ ...pageOptions, ...DEV, entryNames: '[name]', inject, outdir });
  }

  /** A mistake in the sources does not reject the promise: the result is an `error` with file and line. */
  async build(): Promise<Built> {
    const [program, page] = await Promise.all([this.#bundle(this.#program), this.#bundle(this.#page)]);
    const errors = [program, page].flatMap((one) => ('error' in one ? [one.error] : []));
    if ('error' in program || 'error' in page) return { error: [...new Set(errors)].join('\n') };
    return { program, page };
  }

  async stop(): Promise<void> {
    await this.#program?.dispose();
    await this.#page?.dispose();
  }

  async #bundle(one: BuildContext | undefined): Promise<Bundle | { error: string }> {
    try {
      const { outputFiles = [] } = (await one?.rebuild()) ?? {};
      return {
        hash: outputFiles.map(({ path, hash }) => `${path} ${hash}`).join('\n'),
        files: new Map(outputFiles.map(({ path, contents }) => [relative(this.#outdir, path), contents])),
      };
    } catch (error) {
      const { errors } = error as BuildFailure;
      if (!Array.isArray(errors)) throw error;
      return { error: (await formatMessages(errors, { kind: 'error', terminalWidth: 100 })).join('') };
    }
  }
}

/**
 * Writes the program to a folder from which it can be started. Its probes and runbooks are symbolic links to the
 * sources.
 */
export function writeProgram(directory: string, program: BundleFiles, page: BundleFiles): void {
  writeFiles(directory, program);
  for (const [name, source] of Object.entries(copiedFolders)) {
    symlinkSync(join(root, source), join(directory, name));
  }
  // The program reads only the names of these files. The dev server itself answers requests for them.
  for (const [name, contents] of page) {
    if (name.endsWith('.map')) continue;
    const brotli = packBrotli(contents, { params: { [zlib.BROTLI_PARAM_QUALITY]: 1 } });
    const packed = [
      ['', contents] as const,
      ['.gz', gzipSync(contents, { level: 1 })] as const,
      ['.br', brotli] as const,
    ];
    writeFiles(join(directory, 'web'), new Map(packed.map(([ending, bytes]) => [`${name}${ending}`, bytes])));
  }
}

function writeFiles(directory: string, files: BundleFiles): void {
  for (const [name, contents] of files) {
    const path = join(directory, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
  }
}
