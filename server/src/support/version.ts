import manifest from '../../../package.json' with { type: 'json' };

/** Version of the program, from its package manifest; a build writes it into the bundle. */
export const VERSION: string = manifest.version;
