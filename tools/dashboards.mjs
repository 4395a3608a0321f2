// npm run dashboards: regenerates dashboards/json from dashboards/src.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('dashboards/src/main.ts', []));
