// npm run screenshots: writes screenshots of the page for the README (tools/screenshots.ts).
import { build, ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
build();
process.exit(runTypeScript('tools/screenshots.ts', process.argv.slice(2)));
