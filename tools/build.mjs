// Bundles the program into dist/, or the folder given, so that it runs with nothing but node: the program, its chunks, the page, the probes, and the runbooks.
// Chunks, because a command shall not read the code of the others: `--version` needs 3 of the 1,600 KB.
// Two commands may build at once, and another may be reading: the build is made beside, and takes the place when it is whole
// and only where it differs.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod, cp, mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const final = resolve(process.argv[2] ?? `${root}dist`);
const own = join(dirname(final), `.${basename(final)}-${process.pid}`);
const outdir = join(own, 'new');
await mkdir(outdir, { recursive: true });

await build({
  absWorkingDir: root,
  entryPoints: { 'vfio-dmabuf-tracer': 'server/src/main.ts' },
  outdir,
  outExtension: { '.js': '.mjs' },
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  // Dependencies in CommonJS call require() and ask for their directory, which an ES module does not have.
  banner: {
    js: [
      "import { createRequire as bundleRequire } from 'node:module';",
      "import { dirname as bundleDirname } from 'node:path';",
      "import { fileURLToPath as bundleFile } from 'node:url';",
      'const require = bundleRequire(import.meta.url);',
      'const __filename = bundleFile(import.meta.url);',
      'const __dirname = bundleDirname(__filename);',
    ].join('\n'),
  },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
});
await chmod(`${outdir}/vfio-dmabuf-tracer.mjs`, 0o755);

// The page: names have a hash, so that a browser may keep them for ever; packed here, so that the daemon need not.
const web = join(outdir, 'web');
await build({
  absWorkingDir: root,
  entryPoints: ['server/web/page.tsx', 'server/web/page.css', 'server/web/icon.svg'],
  outdir: web,
  entryNames: '[name]-[hash]',
  loader: { '.svg': 'copy' },
  bundle: true,
  format: 'esm',
  target: ['chrome109', 'firefox115', 'safari16.4'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
});
for (const file of readdirSync(web)) {
  const plain = readFileSync(join(web, file));
  writeFileSync(join(web, `${file}.gz`), gzipSync(plain, { level: 9 }));
  writeFileSync(join(web, `${file}.br`), brotliCompressSync(plain));
}
await cp(`${root}probes`, `${outdir}/probes`, { recursive: true });
await cp(`${root}docs/runbooks`, `${outdir}/runbooks`, { recursive: true });

/** Path and content of every file below a folder; undefined where it is not there, or goes away meanwhile. */
const contentOf = (folder) => {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((file) => `${file.slice(folder.length)}\0${readFileSync(file, 'latin1')}`)
      .join('\0');
  } catch {
    return undefined;
  }
};

/** Puts the new build in its place; one that another command put there in the meantime is taken away like any old one. */
const put = async () => {
  for (let old = 0; ; old++) {
    if (contentOf(final) === contentOf(outdir)) return;
    await rename(final, join(own, `old-${old}`)).catch(unless('ENOENT'));
    const busy = await rename(outdir, final).then(() => false, unless('ENOTEMPTY', 'EEXIST'));
    if (busy === false) return;
  }
};

const unless =
  (...codes) =>
  (error) => {
    if (!codes.includes(error.code)) throw error;
  };

try {
  await put();
} finally {
  await rm(own, { recursive: true, force: true });
}
