// npm run dev: serves a recording from the sources, and rebuilds on each save (tools/dev/main.ts).
import { ensurePackages } from './setup.mjs';

ensurePackages();
// tsx is one of those packages. It runs in this process, so a signal reaches the code that stops the children.
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('./dev/main.ts');
process.exit(await main(process.argv.slice(2), process));
