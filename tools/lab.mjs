// npm run lab / npm run demo: sets up what is missing, builds the program, and hands over to the lab.
import { build, ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
build();
process.exit(runTypeScript('lab/src/main.ts', process.argv.slice(2)));
