// npm run capacity: series, bytes of /metrics and memory of kernel maps for 64 devices and 6 importers.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/capacity.ts', []));
