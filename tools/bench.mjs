// npm run bench: lines a second through decoder and model, as a ratio to JSON.parse in the same run; then the time of a line when ten
// times as much is kept, as a ratio to its time before.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
for (const bench of ['pipeline', 'floods']) {
  const code = runTypeScript(`server/test/bench/${bench}.ts`, []);
  if (code !== 0) process.exit(code);
}
