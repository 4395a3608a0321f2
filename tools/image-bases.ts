// The base images of the Dockerfile. A build here needs no container registry, and pulls no image. So the bases are
// stand-ins under the names of the published ones: Debian's minimal tree from this machine's mirror, and the same tree
// with Node and npm from the npm registry in the folders where the official image of Node has them.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cached, cacheRoot, digest } from '../lab/src/cache.ts';
import { debianMirror, ensurePackages } from '../lab/src/host-packages.ts';
import { run } from '../lab/src/shell.ts';

/** Architectures of the image by the names of Debian and of registries, with the name that npm's packages use. */
export const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' } as const;
export type Architecture = keyof typeof ARCHITECTURES;
export const ownArchitecture: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

const DEBIAN = 'docker.io/library/debian:trixie-slim';
const NODE = 'docker.io/library/node';
const NPM_VERSION = '11.21.2';

export function aptSources(mirror: string): string {
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
export const BASE_SOURCES = aptSources('http://mirror.invalid/debian');

type Log = (line: string) => void;

/**
 * Runs buildah with its own storage, separate from other images on this machine. Needs neither a container engine nor
 * overlayfs.
 */
export function buildah(args: readonly string[], onLine?: (line: string) => void): Promise<string> {
  const store = join(cacheRoot(), 'containers');
  return run(
    'buildah',
    ['--root', join(store, 'root'), '--runroot', join(store, 'run'), '--storage-driver', 'vfs', ...args],
    { env: { ...process.env, BUILDAH_ISOLATION: 'chroot' }, ...(onLine && { onLine }) },
  );
}

export function hasImage(name: string): Promise<boolean> {
  return buildah(['inspect', '--type', 'image', name]).then(
    () => true,
    () => false,
  );
}

/** Adds the architecture to a name, if it is not that of this machine. */
export function marked(name: string, architecture: Architecture): string {
  return architecture === ownArchitecture ? name : `${name}-${architecture}`;
}

/** A folder of the cache with Debian's minimal tree as `base.tar`, and the URL of its mirror in the file `mirror`. */
function debianTree(architecture: Architecture, mirror: string | undefined, log: Log): Promise<string> {
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
    await pack(tree, join(target, 'base.tar'), ...excluded.map((path) => `--exclude=${path}`));
    rmSync(tree, { recursive: true });
  });
}

/** A folder of the cache with Node and npm below usr/local as `node.tar`. npm checks the digests of what it loads. */
function nodeTree(architecture: Architecture, version: string, log: Log): Promise<string> {
  const key = digest([version, NPM_VERSION]);
  return cached(marked('container-node', architecture), key, log, async (target) => {
    const name = `node-linux-${ARCHITECTURES[architecture]}`;
    const tree = join(target, 'tree');
    const local = join(tree, 'usr/local');
    mkdirSync(local, { recursive: true });
    await run('npm', ['pack', '--silent', `--pack-destination=${target}`, `${name}@${version}`]);
    const archive = join(target, `${name}-${version}.tgz`);
    const folders = ['bin', 'include', 'share'].map((folder) => `package/${folder}`);
    await run('tar', [
      ...['--extract', '--no-same-owner', '--strip-components=1', '--file', archive, '--directory', local],
      ...folders,
    ]);
    rmSync(archive);
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund'];
    await run('npm', ['install', '--global', `--prefix=${local}`, ...quiet, `npm@${NPM_VERSION}`]);
    await pack(tree, join(target, 'node.tar'));
    rmSync(tree, { recursive: true });
  });
}

async function pack(tree: string, tar: string, ...options: string[]): Promise<void> {
  await run('tar', [...['--create', '--numeric-owner', '--file', tar, '--directory', tree], ...options, '.']);
}

/** Stores an image of these archives under the name. */
async function store(
  name: string,
  tars: readonly string[],
  architecture: Architecture,
  log: Log,
): Promise<string> {
  const key = digest([...tars]);
  const tag = `localhost/${name.slice(name.lastIndexOf('/') + 1, name.lastIndexOf(':'))}:${key}`;
  if (!(await hasImage(tag))) {
    log(`base: storing the stand-in for ${name}`);
    const container = (await buildah(['from', '--arch', architecture, 'scratch'])).trim();
    for (const tar of tars) await buildah(['add', '--quiet', container, tar, '/']);
    await buildah(['config', '--cmd', 'bash', container]);
    await buildah(['commit', '--quiet', '--rm', container, tag]);
  }
  await buildah(['tag', tag, name]);
  return key;
}

/**
 * Stores both base images under the names in the Dockerfile, so that buildah pulls nothing from a registry.
 *
 * @returns what identifies their content, and the URL of Debian's mirror
 */
export async function ensureBases(
  architecture: Architecture,
  nodeVersion: string,
  log: Log,
): Promise<{ keys: string[]; mirror: string }> {
  const debian = await debianTree(architecture, await debianMirror(), log);
  const node = await nodeTree(architecture, nodeVersion, log);
  const tars = [join(debian, 'base.tar'), join(node, 'node.tar')];
  const official = `${NODE}:${nodeVersion}-trixie-slim`;
  const keys = [
    await store(DEBIAN, tars.slice(0, 1), architecture, log),
    await store(official, tars, architecture, log),
  ];
  return { keys, mirror: readFileSync(join(debian, 'mirror'), 'utf8') };
}
