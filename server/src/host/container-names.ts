import { open, opendir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isOutOfResources } from '../lib/errno.ts';
import { readStat } from './proc.ts';

/** Names of the pod and the container of a process. Unknown ones are absent. */
export interface ContainerNames {
  pod_name?: string;
  pod_namespace?: string;
  /** In a pod, the name in its specification. */
  container_name?: string;
}

type Ids = { pod_uid?: string; container_id?: string };
/** The annotation with each name, in the config.json of a container. */
type Annotations = { readonly [Name in keyof ContainerNames]: string };

/** The kubelet makes NAMESPACE_NAME_UID here for each pod, before it starts a container (BuildPodLogsDirectory). */
const POD_LOGS = 'var/log/pods';
/** NAMESPACE/ID/config.json of each container of containerd, where it runs alone, and where k3s and RKE2 start it. */
const CONTAINERD = ['run/containerd', 'run/k3s/containerd'].map((state) =>
  join(state, 'io.containerd.runtime.v2.task'),
);
/** ID/userdata/config.json of each container of CRI-O. */
const CRIO = 'run/containers/storage/overlay-containers';
const DOCKER = 'var/lib/docker/containers';

/** containerd's namespace of the kubelet, with the annotations of its package `annotations`. */
const KUBERNETES = 'k8s.io';
const CRI_ANNOTATIONS: Annotations = {
  pod_name: 'io.kubernetes.cri.sandbox-name',
  pod_namespace: 'io.kubernetes.cri.sandbox-namespace',
  container_name: 'io.kubernetes.cri.container-name',
};
/** nerdctl writes its labels into the annotations. */
const NERDCTL_ANNOTATIONS: Annotations = { container_name: 'nerdctl/name' };
/** The kubelet's labels (package `kubelet/types`), which CRI-O writes into the annotations. */
const KUBELET_LABELS: Annotations = {
  pod_name: 'io.kubernetes.pod.name',
  pod_namespace: 'io.kubernetes.pod.namespace',
  container_name: 'io.kubernetes.container.name',
};

/** What cri-dockerd and CRI-O call a container. Kubernetes allows no `_` in the names of which it consists. */
const COMPOSED = /^k8s_([^_]+)_([^_]+)_([^_]+)_[^_]+_\d+$/;
/** Any name that Kubernetes, containerd's clients, Docker and Podman allow: all other text is not a name. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/;
/** What the kubelet calls the container that only keeps the namespaces of a pod. */
const INFRA_CONTAINER = 'POD';

const FILE_LIMIT = 4 << 20;
const FOLDER_LIMIT = 8192;
const ANCESTORS_LIMIT = 64;

/**
 * Reads the names that belong to the ids of a process's control group, from the files of kubelet and container runtime.
 * A file that is missing, broken or too large has no names. Only the members that are named here leave a file: it also
 * has the environment of the container.
 *
 * @throws if files cannot be read now, because descriptors or memory are exhausted
 */
export async function readContainerNames(
  procRoot: string,
  pid: number,
  { pod_uid: pod, container_id: container }: Ids,
): Promise<ContainerNames> {
  const root = hostRoot(procRoot);
  return {
    ...(container === undefined ? {} : await namesOfContainer(procRoot, root, pid, container)),
    ...(pod === undefined ? {} : await namesOfPod(root, pod)),
  };
}

/** Which sources of names this host has, for people; null if the root directory of the host cannot be read. */
export async function findNameSources(procRoot: string): Promise<string[] | null> {
  const root = hostRoot(procRoot);
  const exists = (path: string) => orNull(stat(join(root, path)));
  if ((await exists('.')) === null) return null;
  const sources = [
    { name: 'kubelet', paths: [POD_LOGS] },
    { name: 'containerd', paths: CONTAINERD },
    { name: 'CRI-O or Podman', paths: [CRIO] },
    { name: 'Docker', paths: [DOCKER] },
  ];
  const found: string[] = [];
  for (const { name, paths } of sources) {
    if ((await Promise.all(paths.map(exists))).some((one) => one !== null)) found.push(name);
  }
  return found;
}

/** The root directory of process 1. It is that of the host, also if the daemon is in a container with the host's pids. */
function hostRoot(procRoot: string): string {
  return join(procRoot, '1', 'root');
}

async function namesOfPod(root: string, uid: string): Promise<ContainerNames> {
  for (const folder of await list(join(root, POD_LOGS))) {
    const [namespace, name, ...rest] = folder.split('_');
    if (rest.length === 1 && rest[0] === uid) return valid({ pod_name: name, pod_namespace: namespace });
  }
  return {};
}

async function namesOfContainer(
  procRoot: string,
  root: string,
  pid: number,
  id: string,
): Promise<ContainerNames> {
  const sources = [
    () => fromContainerd(root, id),
    () => fromConfig(join(root, CRIO, id, 'userdata'), KUBELET_LABELS),
    async () => fromName((await readJson(join(root, DOCKER, id, 'config.v2.json')))?.Name),
    async () => fromName(await monitoredName(procRoot, pid, id)),
  ];
  for (const read of sources) {
    const names = await read();
    if (Object.keys(names).length > 0) return names;
  }
  return {};
}

async function fromContainerd(root: string, id: string): Promise<ContainerNames> {
  for (const tasks of CONTAINERD) {
    for (const namespace of await list(join(root, tasks))) {
      const annotations = namespace === KUBERNETES ? CRI_ANNOTATIONS : NERDCTL_ANNOTATIONS;
      const names = await fromConfig(join(root, tasks, namespace, id), annotations);
      if (Object.keys(names).length > 0) return names;
    }
  }
  return {};
}

/** Names from a config.json of the OCI runtime specification. */
async function fromConfig(folder: string, names: Annotations): Promise<ContainerNames> {
  const annotations = (await readJson(join(folder, 'config.json')))?.annotations;
  if (!isObject(annotations)) return {};
  return valid(Object.fromEntries(Object.entries(names).map(([name, key]) => [name, annotations[key]])));
}

/** Docker writes a name with a slash in front. */
function fromName(name: unknown): ContainerNames {
  if (typeof name !== 'string') return {};
  const [, container, pod, namespace] = COMPOSED.exec(name.replace(/^\//, '')) ?? [];
  if (container === undefined) return valid({ container_name: name.replace(/^\//, '') });
  return valid({ pod_name: pod, pod_namespace: namespace, container_name: container });
}

/**
 * The name on the command line of conmon, the parent of a container of Podman, wherever its storage is. A process of
 * the container can call itself conmon, so the outermost one counts.
 */
async function monitoredName(procRoot: string, pid: number, id: string): Promise<string | undefined> {
  let name: string | undefined;
  let process = await orNull(readStat(procRoot, pid));
  for (let depth = 0; process !== null && process.parent > 1 && depth < ANCESTORS_LIMIT; depth++) {
    const { parent } = process;
    process = await orNull(readStat(procRoot, parent));
    if (process?.comm !== 'conmon') continue;
    const argv = (await orNull(readFile(join(procRoot, String(parent), 'cmdline'), 'utf8')))?.split('\0');
    const value = (option: string) => argv?.[argv.indexOf(option) + 1];
    if (value('-c') === id) name = value('-n');
  }
  return name;
}

/** Without what is not a name, and without the name of a container that does nothing. */
function valid(names: { [Name in keyof ContainerNames]: unknown }): ContainerNames {
  return Object.fromEntries(
    Object.entries(names).filter(
      ([, name]) => typeof name === 'string' && NAME.test(name) && name !== INFRA_CONTAINER,
    ),
  );
}

/** The names of the entries of a folder, up to a limit. */
async function list(folder: string): Promise<string[]> {
  const entries = await orNull(opendir(folder));
  const names: string[] = [];
  try {
    // The loop closes the folder.
    for await (const { name } of entries ?? []) {
      if (names.push(name) >= FOLDER_LIMIT) break;
    }
  } catch {
    // The folder was removed, or the disk has an error: the rest is absent.
  }
  return names;
}

/** The object in a file; null if there is none. An error of the parser contains text of the file, so it ends here. */
async function readJson(path: string): Promise<Record<string, unknown> | null> {
  const file = await orNull(open(path));
  if (file === null) return null;
  try {
    const info = await file.stat();
    if (!info.isFile() || info.size > FILE_LIMIT) return null;
    const value: unknown = JSON.parse(await file.readFile('utf8'));
    return isObject(value) ? value : null;
  } catch {
    return null;
  } finally {
    await file.close();
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Waits for a read; null if it fails, except if a retry may succeed. */
async function orNull<T>(read: Promise<T>): Promise<T | null> {
  try {
    return await read;
  } catch (error) {
    if (isOutOfResources(errnoOf(error))) throw error;
    return null;
  }
}
