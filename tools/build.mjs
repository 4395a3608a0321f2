// Bundles the program into dist/, or the folder given, so that it runs with nothing but node: the program, its chunks, and the probes.
// Chunks, because a command shall not read the code of the others: `--version` needs 3 of the 1,600 KB.
import { chmod, cp, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const outdir = resolve(process.argv[2] ?? `${root}dist`);

await rm(outdir, { recursive: true, force: true });
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
await cp(`${root}probes`, `${outdir}/probes`, { recursive: true });
