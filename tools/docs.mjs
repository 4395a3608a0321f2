// npm run docs: writes docs/metrics.md anew from what the program serves.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/docs.ts', []));
