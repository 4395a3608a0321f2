import manifest from '../../../package.json' with { type: 'json' };

/** Version of the program, from package.json. The build inlines it into the bundle. */
export const VERSION: string = manifest.version;
