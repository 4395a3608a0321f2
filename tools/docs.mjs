// npm run docs: writes docs/metrics.md, docs/reasons.md and docs/incidents.md anew from what the program serves.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/docs.ts', []));
