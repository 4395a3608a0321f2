// Bundles the program, the page, the probes and the docs into dist/ or the given folder, with the licenses of what it
// bundles. The result needs only node. Several commands may build or read dist/ at the same time. So each build goes
// into a temporary folder. When it is complete and if it differs, it replaces the previous build.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod, cp, mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { copiedFolders, isCopied, pageOptions, programOptions, root } from './build-options.mjs';
import { thirdPartyLicenses } from './third-party-licenses.mjs';

const final = resolve(process.argv[2] ?? `${root}dist`);
const own = join(dirname(final), `.${basename(final)}-${process.pid}`);
const outdir = join(own, 'new');
await mkdir(outdir, { recursive: true });

const program = await build({ ...programOptions, outdir, metafile: true });
await chmod(`${outdir}/vfio-dmabuf-tracer.mjs`, 0o755);

// Compressed at build time, so that the daemon does not have to compress.
const web = join(outdir, 'web');
const page = await build({ ...pageOptions, outdir: web, metafile: true });
for (const file of readdirSync(web)) {
  const plain = readFileSync(join(web, file));
  writeFileSync(join(web, `${file}.gz`), gzipSync(plain, { level: 9 }));
  writeFileSync(join(web, `${file}.br`), brotliCompressSync(plain));
}
for (const [name, source] of Object.entries(copiedFolders)) {
  await cp(join(root, source), join(outdir, name), { recursive: true, filter: isCopied });
}

writeFileSync(join(outdir, 'third-party-licenses.txt'), thirdPartyLicenses(program.metafile, page.metafile));

/**
 * Path and content of every file below a folder, as one text; undefined if the folder does not exist or is removed
 * meanwhile.
 */
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

/**
 * Moves the new build to its final folder. Replaces any other build there, also one that another command has just put
 * there.
 */
const replaceBuild = async () => {
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
  await replaceBuild();
} finally {
  await rm(own, { recursive: true, force: true });
}
