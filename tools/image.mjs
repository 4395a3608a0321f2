// npm run image: sets up what is missing, then builds the container image and tries it.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/image.ts', process.argv.slice(2)));
