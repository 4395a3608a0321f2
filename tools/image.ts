// Builds the Dockerfile with buildah on stand-ins for its base images (image-bases.ts), and tests the image. The image
// must run the Node that the Dockerfile names, its program must be the one of this repository, and it must replay
// recordings to the same bytes as on the host.
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
import { cacheRoot, digest, withCacheLock } from '../lab/src/cache.ts';
import { freePort } from '../lab/src/free-port.ts';
import { ensurePackages, ensureProgramsOf } from '../lab/src/host-packages.ts';
import { log } from '../lab/src/progress.ts';
import { CommandError, run } from '../lab/src/shell.ts';
import {
  ARCHITECTURES,
  type Architecture,
  aptSources,
  BASE_SOURCES,
  buildah,
  ensureBases,
  hasImage,
  marked,
  ownArchitecture,
} from './image-bases.ts';
import { checkSbom } from './image-sbom.ts';

const REPOSITORY = join(import.meta.dirname, '..');
const NAME = 'localhost/vfio-dmabuf-tracer';
const NODE_VERSION =
  /^ARG NODE_VERSION=(.+)$/m.exec(readFileSync(join(REPOSITORY, 'Dockerfile'), 'utf8'))?.[1] ?? '';
/** Everything that determines the image: the files that .dockerignore includes, Dockerfile, and .dockerignore. */
const INPUTS = [
  ...['Dockerfile', '.dockerignore'],
  ...Array.from(
    readFileSync(join(REPOSITORY, '.dockerignore'), 'utf8').matchAll(/^!(.+)$/gm),
    ([, path = '']) => path,
  ),
].map((path) => join(REPOSITORY, path));

/** Builds the image if the storage does not have it, and resolves with its name. */
async function ensureImage(architecture: Architecture): Promise<string> {
  const { keys, mirror } = await ensureBases(architecture, NODE_VERSION, log);
  const repository = marked(NAME, architecture);
  const name = `${repository}:${digest(keys, INPUTS)}`;
  if (await hasImage(name)) {
    log('image: already built, nothing has changed');
    return name;
  }
  const own = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-image-'));
  try {
    const sources = join(own, 'debian.sources');
    writeFileSync(sources, aptSources(mirror));
    const registry = (await run('npm', ['config', 'get', 'registry'])).trim().replace(/\/+$/, '');
    // A user needs none of these: the registry and the mirror of this machine replace those of the base images.
    const args = [
      ...['--build-arg', `npm_config_registry=${registry}`],
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

/** Script that starts the image's entry point with arguments, waits for its health check to pass, and stops it. */
const SERVE = `
$ENTRY $ARGUMENTS >/tmp/log 2>&1 & pid=$!
healthy=1; n=0
while [ $n -lt 60 ]; do "$@" >/tmp/health && { healthy=0; break; }; kill -0 $pid || break; n=$((n + 1)); sleep 0.5; done
[ $healthy = 0 ] || { echo "did not become healthy:"; cat /tmp/health /tmp/log; exit 9; }
kill -TERM $pid; wait $pid || { echo "exit $? after SIGTERM:"; cat /tmp/log; exit 9; }
"$@" && { echo "the health check passes although the program has stopped"; exit 9; }
rm /tmp/log /tmp/health
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
    same(`Node ${node}`, node, `v${NODE_VERSION}`);
    same('there is no npm', await inside(['sh', '-c', 'command -v npm || echo none']), 'none\n');
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
    await checkSbom(inside, NODE_VERSION);
    log(
      'ok      the SBOM is valid, and names Node, the Debian packages and the npm packages with their versions',
    );
    // The collector has root's capabilities only in the second run: then the server is a process of another user.
    for (const [user, options] of [
      ['unprivileged', []],
      ['as root', ['--user', '0:0', '--cap-add', 'CAP_SYS_PTRACE']],
    ] as const) {
      const addresses = [`127.0.0.1:${await freePort()}`, `:${await freePort()}`];
      const flags = addresses.map((address) => `--web.listen-address=${address}`);
      const served = await inside(
        ['sh', '-c', SERVE, 'sh', ...test.slice(1)],
        ...options,
        ...['--env', `ENTRY=${entry}`],
        ...['--env', `ARGUMENTS=${[...config.Cmd, '--bpftrace.path=/nowhere', ...flags].join(' ')}`],
      );
      same(
        `it serves ${user}, its health check finds the addresses of flags, and SIGTERM ends it with 0`,
        served.trim().split('\n').at(-1) ?? '',
        'served',
      );
    }
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
    const name = await ensureImage(architecture);
    log(`testing ${name}`);
    await tryImage(architecture, name, version);
  });
  log('image: built and tested');
} catch (error) {
  console.error(`image: FAILED: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
