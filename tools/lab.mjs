// npm run lab, npm run demo: installs missing packages, builds the program, and starts the lab.
import { build, ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
build();
process.exit(runTypeScript('lab/src/main.ts', process.argv.slice(2)));
