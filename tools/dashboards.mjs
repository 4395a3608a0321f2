// npm run dashboards: writes dashboards/json anew from dashboards/src.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('dashboards/src/main.ts', []));
