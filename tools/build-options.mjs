// Options of esbuild for the program and the page. `npm run build` and `npm run dev` share them.
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** The program and its chunks. A command loads only the chunks that it needs: `--version` loads 3 of 1,600 KB. */
export const programOptions = {
  absWorkingDir: root,
  entryPoints: {
    'vfio-dmabuf-tracer': 'server/src/main.ts',
    healthcheck: 'server/src/cli/healthcheck.ts',
    // A thread has a file of its own.
    'bcrypt-worker': 'server/src/http/web/bcrypt-worker.mjs',
  },
  outExtension: { '.js': '.mjs' },
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  // `debug` uses it if it is installed, which depends on the other packages. It is not a dependency.
  alias: { 'supports-color': 'data:text/javascript,' },
  // CommonJS dependencies use require(), __filename and __dirname, which an ES module does not have.
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
};

/** The page. File names contain a hash of the content, so a browser may cache the files forever. */
export const pageOptions = {
  absWorkingDir: root,
  entryPoints: ['server/web/page.tsx', 'server/web/page.css', 'server/web/icon.svg'],
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
};

/** Folders that are copied into the build: name in the build to source folder. */
export const copiedFolders = { probes: 'probes', docs: 'docs' };

/** The program reads only text and fragments. The declarations next to the fragments are in its bundle. */
export const isCopied = (path) => !/\.(png|json|ts)$/.test(path);
