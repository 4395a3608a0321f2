// npm run image: installs missing packages, then builds the container image and tests it.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/image.ts', process.argv.slice(2)));
