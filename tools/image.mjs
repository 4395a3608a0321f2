// npm run image: sets up what is missing, builds the program, then builds the container image and tries it.
import { build, ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
build();
process.exit(runTypeScript('tools/image.ts', process.argv.slice(2)));
