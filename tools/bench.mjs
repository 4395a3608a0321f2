// npm run bench: measures lines per second through decoder and model, as a ratio to JSON.parse in the same run. Then it
// measures how much longer a line takes when the model contains ten times as much.
import { ensurePackages, runTypeScript } from './setup.mjs';

ensurePackages();
for (const bench of ['pipeline', 'floods']) {
  const code = runTypeScript(`server/test/bench/${bench}.ts`, []);
  if (code !== 0) process.exit(code);
}
