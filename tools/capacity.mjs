// npm run capacity: measures series, bytes of /metrics and memory of kernel maps for 64 devices with up to 6 importers.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('tools/capacity.ts', []));
