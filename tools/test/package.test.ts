import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { wantedBy } from '../../server/src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../server/src/bpftrace/compiler/fragment.ts';
import type { HostFacts } from '../../server/src/bpftrace/facts.ts';
import { formatFacts } from '../../server/src/bpftrace/facts-file.ts';
import { probesDirectory } from '../../server/src/lib/probes-directory.ts';
import { everythingOf } from '../../server/test/bpftrace/everything.ts';
import { Program } from '../../server/test/e2e/program.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const RECORDINGS = join(REPOSITORY, 'recordings');
const PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;

interface Manifest {
  version: string;
  bin: Record<string, string>;
  dependencies: Record<string, string>;
}
interface LockFile {
  packages: Record<string, { version: string; dev?: boolean }>;
}
function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T;
}

const program = new Program();
/** A copy of the repository, in which npm makes the package. */
const clone = join(program.folder, 'clone');
/** The extracted package. No folder above it contains node_modules. */
const extracted = join(program.folder, 'extracted/package');
/** The command, as npm links it. */
const command = join(program.folder, 'bin/vfio-dmabuf-tracer');

before(() => {
  program.build();
  // Other commands may write what git ignores, meanwhile.
  const ignored = /^(\.git|node_modules|dist|\.dist-.*|coverage|lab-out|packages)$/;
  cpSync(REPOSITORY, clone, {
    recursive: true,
    filter: (path) => !ignored.test(relative(REPOSITORY, path)),
  });
  // In place of a second build, the script that npm starts copies the build of this test run.
  const copy = `import { cpSync } from 'node:fs';\ncpSync(${JSON.stringify(program.dist)}, 'dist', { recursive: true });\n`;
  writeFileSync(join(clone, 'tools/build.mjs'), copy);
  run('npm', ['run', 'package', '--', '--pack-destination', program.folder], clone);
  mkdirSync(dirname(extracted));
  const [archive = 'no archive'] = readdirSync(program.folder).filter((name) => name.endsWith('.tgz'));
  run('tar', ['-xzf', join(program.folder, archive), '-C', dirname(extracted)]);
  mkdirSync(dirname(command));
  const [bin = ''] = Object.values(readJson<Manifest>(join(extracted, 'package.json')).bin);
  symlinkSync(join(extracted, bin), command);
});
after(() => program.remove());

/** Runs a command with none of the settings of this npm, and without a network. */
function start(command: string, args: readonly string[], cwd = program.folder): SpawnSyncReturns<string> {
  const env = { PATH, HOME: program.folder, npm_config_offline: 'true' };
  return spawnSync(command, args, { cwd, env, encoding: 'utf8', timeout: 300_000, maxBuffer: 64 << 20 });
}
/** The output of a command that must succeed. */
function run(command: string, args: readonly string[], cwd?: string): string {
  const { status, stdout, stderr, error } = start(command, args, cwd);
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

function filesBelow(folder: string, prefix = ''): string[] {
  return readdirSync(join(folder, prefix), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

test('the package has the build, the units of systemd and the files that describe it, and nothing else', () => {
  assert.deepEqual(
    filesBelow(extracted).sort(),
    [
      ...['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'],
      ...filesBelow(REPOSITORY, 'deploy'),
      ...filesBelow(program.dist).map((file) => join('dist', file)),
    ].sort(),
  );
});

test('no file of the package names a folder of the machine that made it', () => {
  for (const file of filesBelow(extracted)) {
    const content = readFileSync(join(extracted, file));
    for (const folder of [REPOSITORY, program.folder])
      assert.ok(!content.includes(folder), `${file}: ${folder}`);
  }
});

test('the package runs without node_modules', () => {
  const { version } = readJson<Manifest>(join(REPOSITORY, 'package.json'));
  assert.equal(run(command, ['--version']), `${version}\n`);
  // Its exit code depends on this host.
  const { checks } = JSON.parse(start(command, ['doctor', '--json']).stdout) as {
    checks: { name: string }[];
  };
  assert.ok(checks.some(({ name }) => name === 'bpftrace'));
});

test('the package replays a recording to the same bytes as its metrics', () => {
  assert.equal(
    run(command, ['replay', 'import-vgem.ndjson', '--print', 'metrics'], RECORDINGS),
    readFileSync(join(RECORDINGS, 'import-vgem.metrics'), 'utf8'),
  );
});

test('the package composes the probes of a host from its facts', async () => {
  const fragments = await loadFragments(probesDirectory());
  const facts = { kernel: '7.3.4', ...everythingOf(fragments) };
  const file = join(program.folder, 'facts.json');
  writeFileSync(file, formatFacts(facts as unknown as HostFacts, wantedBy(fragments)));
  assert.match(
    run(command, ['probes', `--facts=${file}`]),
    /^kprobe:vfio_pci_core:vfio_pci_dma_buf_attach \{$/m,
  );
});

test('install.sh of the package installs the units and a program that runs', () => {
  const root = join(program.folder, 'root');
  run('env', [`DESTDIR=${root}`, join(extracted, 'deploy/systemd/install.sh')]);
  const units = readdirSync(join(root, 'usr/local/lib/systemd/system'));
  assert.deepEqual(
    units.sort(),
    readdirSync(join(REPOSITORY, 'deploy/systemd'))
      .filter((name) => name.startsWith('vfio-dmabuf-tracer'))
      .sort(),
  );
  assert.match(run(join(root, 'usr/local/bin/vfio-dmabuf-tracer'), ['--version']), /^\d/);
});

test('package.json names what the package bundles, with the same versions', () => {
  const licenses = readFileSync(join(extracted, 'dist/third-party-licenses.txt'), 'utf8');
  const bundled = [...licenses.matchAll(/^={80}\n(\S+) (\S+) \(/gm)].map(
    ([, name, version]) => `${name} ${version}`,
  );
  const { packages } = readJson<LockFile>(join(REPOSITORY, 'package-lock.json'));
  const locked = Object.entries(packages)
    .filter(([, { dev }]) => dev !== true)
    .map(([folder, { version }]) => `${folder.replace(/^.*node_modules\//, '')} ${version}`);
  assert.deepEqual(
    bundled.filter((one) => !locked.includes(one)),
    [],
    'bundled, but not in `dependencies` or what these depend on',
  );
  const { dependencies } = readJson<Manifest>(join(extracted, 'package.json'));
  const named = Object.entries(dependencies).map(([name, version]) => `${name} ${version}`);
  assert.deepEqual(
    named.filter((one) => !bundled.includes(one)),
    [],
    'in `dependencies`, but not bundled',
  );
});
