// npm run docs: regenerates docs/metrics.md and docs/reasons.md, and the tables of docs/incidents.md and
// docs/accounting.md.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/docs.ts', []));
