import type { Metafile } from 'esbuild';

export function thirdPartyLicenses(...metafiles: readonly Pick<Metafile, 'outputs'>[]): string;
