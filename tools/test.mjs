// npm test: runs all checks from a fresh clone. Cheap checks come first, and a failure stops the run. The lab, the image
// and the Debian package follow. The unit tests come last. They include the results of all steps
// (tools/steps.report.ts), so that the summary at the end counts everything.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackages, repository } from './setup.mjs';

const FAST =
  'INCOMPLETE: --fast SKIPS THE LAB (REAL KERNELS), THE IMAGE AND THE DEBIAN PACKAGE. `npm test` RUNS ALL.';
const TESTS = ['pure', 'load', 'terminal', 'privileges', 'prometheus', 'browser'];

const args = process.argv.slice(2);
const fast = args.includes('--fast');
const unknown = args.filter((arg) => arg !== '--fast');
if (unknown.length > 0) {
  console.error(
    `npm test accepts only --fast, not ${unknown.join(' ')}. To run one test file: node tools/run-tests.mjs FILE`,
  );
  process.exit(2);
}

const bin = (name) => join(repository, 'node_modules/.bin', name);
const typescript = (file) => [process.execPath, ['--import', 'tsx', file]];
const inOrder = [
  { name: 'types', command: [bin('tsc'), ['--noEmit']] },
  { name: 'types of the page', command: [bin('tsc'), ['--noEmit', '-p', 'server/web']] },
  { name: 'lint and format', command: [bin('biome'), ['check', '.']] },
  { name: 'build', command: [process.execPath, ['tools/build.mjs']] },
];
const whole = [
  { name: 'lab', command: [process.execPath, ['--import', 'tsx', 'lab/src/main.ts', 'all']] },
  { name: 'image', command: typescript('tools/image.ts') },
  { name: 'Debian package', command: typescript('tools/deb.ts') },
];

const heading = (name) => console.log(`\n=== ${name} ${'='.repeat(Math.max(3, 70 - name.length))}\n`);
const seconds = (since) => (Date.now() - since) / 1000;

/** Runs a step with its output on this terminal, and also keeps the output. */
const step = ({ name, command: [command, commandArgs] }) =>
  new Promise((resolve) => {
    heading(name);
    const started = Date.now();
    let output = '';
    const end = (status) => {
      const ok = status === 0;
      const took = seconds(started);
      console.log(`\n${name}: ${ok ? 'passed' : `FAILED (${status})`} in ${took.toFixed(1)} s`);
      resolve({ name, ok, status: String(status), seconds: took, output });
    };
    const child = spawn(command, commandArgs, { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const [stream, terminal] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.setEncoding('utf8');
      stream.on('data', (chunk) => {
        output += chunk;
        terminal.write(chunk);
      });
    }
    child.once('error', (error) => end(error.message));
    child.once('close', (code, signal) => end(signal ?? code));
  });

if (fast) console.log(FAST);
heading('packages');
const began = Date.now();
ensurePackages();
console.log(`packages: ready after ${seconds(began).toFixed(1)} s`);

const steps = fast ? inOrder : [...inOrder, ...whole];
const results = [];
for (const [index, one] of inOrder.entries()) {
  const result = await step(one);
  results.push(result);
  if (!result.ok) {
    const left = [...steps.slice(index + 1).map(({ name }) => name), 'tests'];
    console.error(`\nFAILED: ${one.name}. Not run: ${left.join(', ')}.`);
    process.exit(1);
  }
}
// These and the tests do not depend on each other, so all of them run even if one fails.
if (!fast) for (const one of whole) results.push(await step(one));

heading('tests');
for (const { name, ok, seconds: took } of results)
  console.log(`${ok ? 'passed' : 'FAILED'}  ${name} (${took.toFixed(1)} s)`);
console.log('');
const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-test-'));
const report = join(own, 'steps.json');
writeFileSync(report, JSON.stringify(results));
const { status } = spawnSync(process.execPath, ['tools/run-tests.mjs', ...TESTS, 'tools/steps.report.ts'], {
  cwd: repository,
  stdio: ['ignore', 'inherit', 'inherit'],
  env: { ...process.env, TRACER_TEST_STEPS: report },
});
rmSync(own, { recursive: true });
if (fast) console.log(FAST);
process.exit(status ?? 1);
