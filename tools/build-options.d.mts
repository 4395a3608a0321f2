import type { BuildOptions } from 'esbuild';

export const root: string;
export const programOptions: BuildOptions;
export const pageOptions: BuildOptions;
export const copiedFolders: Readonly<Record<string, string>>;
export const isCopied: (path: string) => boolean;
