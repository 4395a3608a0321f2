// npm run bench: lines a second through decoder and model, as a ratio to JSON.parse in the same run.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
process.exit(runTypeScript('server/test/bench/pipeline.ts', []));
