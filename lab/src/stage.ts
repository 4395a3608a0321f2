import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { buildDisk } from './image.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
export const PROGRAM = join(REPOSITORY, 'dist');

/** The disk that a guest mounts at /lab/program. */
export interface Stage {
  disk: string;
  remove(): void;
}

/** Always the same size, because a saved guest can only resume with a disk of the size that it had. */
const SIZE = '64M';

/** Builds a disk with what changes between runs: the built program as dist/, its units as deploy/, and the caller's files as files/. */
export async function makeStage(files: readonly string[] = []): Promise<Stage> {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run npm run build`);
  const root = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-stage-'));
  const content = join(root, 'content');
  mkdirSync(join(content, 'files'), { recursive: true });
  cpSync(PROGRAM, join(content, 'dist'), { recursive: true });
  cpSync(join(REPOSITORY, 'deploy'), join(content, 'deploy'), { recursive: true });
  for (const file of files) cpSync(file, join(content, 'files', basename(file)));
  const disk = join(root, 'program.ext4');
  await buildDisk(content, disk, SIZE);
  rmSync(content, { recursive: true });
  return { disk, remove: () => rmSync(root, { recursive: true, force: true }) };
}
