// npm run docs: generates docs/metrics.md, docs/reasons.md, docs/alerts.md, recordings/README.md, and tables of docs/incidents.md and docs/accounting.md.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/docs.ts', []));
