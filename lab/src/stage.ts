import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Image } from './image.ts';

/** The folder that a guest sees at /lab, and the one that it writes to at /out. */
export interface Stage {
  share: string;
  out: string;
  remove(): void;
}

const REPOSITORY = join(import.meta.dirname, '../..');

/** Lays out what a guest needs: its scripts, modules, workloads, the built program, and the caller's own files. */
export const makeStage = (image: Image, files: readonly string[] = []): Stage => {
  const program = join(REPOSITORY, 'dist');
  if (!existsSync(program)) throw new Error(`${program} is missing: run npm run build`);
  const root = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-stage-'));
  const share = join(root, 'share');
  const out = join(root, 'out');
  mkdirSync(out);
  cpSync(join(REPOSITORY, 'lab/guest'), join(share, 'guest'), { recursive: true });
  if (image.labModules !== null) cpSync(image.labModules, join(share, 'modules'), { recursive: true });
  cpSync(image.workloads, join(share, 'bin'), { recursive: true });
  cpSync(program, join(share, 'dist'), { recursive: true });
  cpSync(join(REPOSITORY, 'recordings'), join(share, 'recordings'), { recursive: true });
  for (const file of files) cpSync(file, join(share, 'files', basename(file)));
  return { share, out, remove: () => rmSync(root, { recursive: true, force: true }) };
};
