import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findNameSources } from '../../src/host/container-names.ts';
import { readProcess } from '../../src/host/identity.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

/**
 * The files of real containers, as their runtimes wrote them, with another layout: containerd 2.1.9 (two containers of
 * a pod, made through its CRI; and one of `ctr run --label`, whose labels it handles as those of nerdctl) and Docker
 * 28.5.2. Each has the secret in its environment.
 */
const STATE = fileURLToPath(new URL('../fixtures/container-state', import.meta.url));
const SECRET = /hunter2/;
const UID = 'de7c6a0c-79c0-44dc-a099-69bb39f180af';
const SANDBOX = '590e6734ccaa196983d6a6b65e76f2c6297ecccf02043947254dbb890cdc2c29';
const IN_POD = 'b63bb534084541b5cc5af1f0c54a81502023c50086ef839adb709a4dedd35741';
const LABELLED = '5bb1e1d5a1f04c3cba90d9dfdaa8c0fd4ba53a0c8bb1b9a3a4d26d9c0c3f1e7a';
const DOCKER = '6567cefb68a7c6bb6a69b44788d9171b957e67424819f7cd910ac2f23b354fa7';
const ID = 'c7949d8917938cd4078ab3ba0a780610b06dd1b459f26220d880119b8c8d4050';

/** A /proc, whose process 1 has the files of the containers or, without `state`, an empty folder as root directory. */
async function setUp(t: TestContext, state?: string) {
  const procRoot = await temporaryFolder(t);
  const root = state ?? join(await temporaryFolder(t), 'root');
  await mkdir(root, { recursive: true });
  await mkdir(join(procRoot, '1'));
  await symlink(root, join(procRoot, '1/root'));
  const add = async (pid: number, name: string, parent: number, files: Record<string, string>) => {
    await mkdir(join(procRoot, String(pid)));
    const stat = `${pid} (${name}) S ${parent} ${'0 '.repeat(17)}77 0\n`;
    for (const [file, text] of Object.entries({ stat, ...files }))
      await writeFile(join(procRoot, String(pid), file), text);
  };
  const write = async (path: string, content: string | object): Promise<void> => {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), typeof content === 'string' ? content : JSON.stringify(content));
  };
  /** Pod, namespace and container of a process with this control group. */
  const names = async (cgroup: string): Promise<unknown[]> => {
    await rm(join(procRoot, '9'), { recursive: true, force: true });
    await add(9, 'qemu', 8, { cgroup: `0::${cgroup}\n` });
    const facts = await readProcess(procRoot, 9);
    assert.ok(facts !== null);
    assert.doesNotMatch(JSON.stringify(facts), SECRET);
    return [facts.pod_namespace, facts.pod_name, facts.container_name];
  };
  return { procRoot, root, add, write, names };
}
const NOTHING = [undefined, undefined, undefined];

test('containers of containerd and Docker get the names that their runtimes wrote, and nothing else of these files', async (t) => {
  const { names } = await setUp(t, STATE);
  const pod = `/kubepods/burstable/pod${UID}`;
  assert.deepEqual(await names(`${pod}/${IN_POD}`), ['tenant-a', 'virt-launcher-gpu-vm-x7k2p', 'compute']);
  // Kata's sandbox, whose control group may have no pod: that pause container has no name.
  for (const group of [`${pod}/${SANDBOX}`, `/kata_overhead/${SANDBOX}`])
    assert.deepEqual(await names(group), ['tenant-a', 'virt-launcher-gpu-vm-x7k2p', undefined]);
  assert.deepEqual(await names(`/default/${LABELLED}`), [undefined, undefined, 'gpu-worker']);
  assert.deepEqual(await names(`/system.slice/docker-${DOCKER}.scope`), [undefined, undefined, 'web_gpu.1']);
  assert.deepEqual(await names(`/system.slice/docker-${ID}.scope`), NOTHING);
  assert.deepEqual(await names('/machine.slice/machine-qemu\\x2d1\\x2dweb.scope'), NOTHING);
});

test('the folders of the kubelet name a pod, also a static one, whatever its runtime', async (t) => {
  const { root, names } = await setUp(t);
  const hash = '2dd4f1b7c0a94e0f8d1c6a5b3e9f7a10';
  for (const folder of [
    `tenant-a_virt-launcher-db.v2-x1_${UID}`,
    `kube-system_etcd-node-1_${hash}`,
    `old_name_${UID.replace('d', 'e')}`,
    `too_many_parts_${UID}`,
    UID,
    `tenant-a_\u001b[31m_${UID.replace('d', 'f')}`,
  ])
    await mkdir(join(root, 'var/log/pods', folder, 'compute'), { recursive: true });
  assert.deepEqual(await names(`/kubepods/pod${UID}/crio-${ID}`), [
    'tenant-a',
    'virt-launcher-db.v2-x1',
    undefined,
  ]);
  assert.deepEqual(await names(`/kubepods/burstable/pod${hash}/${ID}`), [
    'kube-system',
    'etcd-node-1',
    undefined,
  ]);
  assert.deepEqual(await names(`/kubepods/pod${UID.replace('d', 'f')}/${ID}`), [
    'tenant-a',
    undefined,
    undefined,
  ]);
  assert.deepEqual(await names(`/kubepods/pod${UID.replace('d', 'a')}/${ID}`), NOTHING);
});

test('CRI-O and cri-dockerd name pod and container, and the container of the sandbox has no name', async (t) => {
  const { write, names } = await setUp(t);
  // CRI-O is not in Debian: the annotations are those of its SpecAddAnnotations, which adds the labels of the kubelet.
  const labels = {
    'io.kubernetes.pod.name': 'kata-gpu',
    'io.kubernetes.pod.namespace': 'tenant-b',
    'io.kubernetes.container.name': 'worker',
    'io.kubernetes.cri-o.ContainerName': `k8s_worker_kata-gpu_tenant-b_${UID}_0`,
    // An annotation that the author of a pod has chosen.
    'io.kubernetes.cri.sandbox-name': 'other',
  };
  const config = `run/containers/storage/overlay-containers/${ID}/userdata/config.json`;
  await write(config, { process: { env: ['TOKEN=hunter2'] }, annotations: labels });
  assert.deepEqual(await names(`/kubepods.slice/crio-${ID}.scope`), ['tenant-b', 'kata-gpu', 'worker']);
  await write(config, { annotations: { ...labels, 'io.kubernetes.container.name': 'POD' } });
  assert.deepEqual(await names(`/kubepods.slice/crio-${ID}.scope`), ['tenant-b', 'kata-gpu', undefined]);
  await write(`var/lib/docker/containers/${DOCKER}/config.v2.json`, {
    Name: `/k8s_compute_virt-launcher-x_tenant-c_${UID}_3`,
  });
  assert.deepEqual(await names(`/kubepods.slice/docker-${DOCKER}.scope`), [
    'tenant-c',
    'virt-launcher-x',
    'compute',
  ]);
});

test('the outermost conmon of a container names it', async (t) => {
  const { add, names } = await setUp(t);
  // The command line of Podman 5.8.6, without the paths after --full-attach.
  const conmon = (id: string, name: string) =>
    `/usr/bin/conmon --api-version 1 -c ${id} -u ${id} -r /usr/bin/runc -b /var/lib/containers/storage/overlay-containers/${id}/userdata -p /run/containers/storage/overlay-containers/${id}/userdata/pidfile -n ${name} --exit-dir /run/libpod/exits --full-attach `.replaceAll(
      ' ',
      '\0',
    );
  // A shell with the same command line, on the outside and the inside.
  await add(4, 'sh', 1, { cmdline: conmon(ID, 'shell') });
  await add(5, 'conmon', 4, { cmdline: conmon(ID, 'web-gpu') });
  await add(6, 'conmon', 5, { cmdline: conmon(ID, 'forged') });
  await add(7, 'conmon', 6, { cmdline: conmon(DOCKER, 'nested') });
  await add(8, 'sh', 7, { cmdline: conmon(ID, 'shell') });
  const scope = (id: string) => `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${id}.scope`;
  assert.deepEqual(await names(scope(ID)), [undefined, undefined, 'web-gpu']);
  assert.deepEqual(await names(scope(DOCKER)), [undefined, undefined, 'nested']);
  assert.deepEqual(await names(scope(LABELLED)), NOTHING);
});

test('a file that is missing, broken, too large or not a file has no names, and the process is still known', async (t) => {
  const { root, write, names } = await setUp(t);
  const path = `var/lib/docker/containers/${DOCKER}/config.v2.json`;
  const name = () => names(`/docker/${DOCKER}`);
  assert.deepEqual(await name(), NOTHING);
  const texts = ['', '[]', 'null', '7', '{"Env":["TOKEN=hunter2"', `{"Name":"/a"${' '.repeat(4 << 20)}}`];
  for (const text of texts) {
    await write(path, text);
    assert.deepEqual(await name(), NOTHING, text.slice(0, 40));
  }
  const bad = [null, 7, ['/a'], '', '/', '/a b', '/\u001b]0;x\u0007', '/..', '/a\nb', `/${'a'.repeat(254)}`];
  for (const one of bad) {
    await write(path, { Name: one });
    assert.deepEqual(await name(), NOTHING, String(one));
  }
  await write(path, { Name: `/${'a'.repeat(253)}` });
  assert.deepEqual(await name(), [undefined, undefined, 'a'.repeat(253)]);
  await rm(join(root, path));
  await mkdir(join(root, path));
  assert.deepEqual(await name(), NOTHING);
  await write(`run/containerd/io.containerd.runtime.v2.task/k8s.io/${ID}/config.json`, { annotations: [] });
  assert.deepEqual(await names(`/kubepods/${ID}`), NOTHING);
});

test('the sources of names are those that exist below the root directory of process 1', async (t) => {
  const { procRoot } = await setUp(t, STATE);
  assert.deepEqual(await findNameSources(procRoot), ['containerd', 'Docker']);
  const { procRoot: empty } = await setUp(t);
  assert.deepEqual(await findNameSources(empty), []);
  await rm(join(empty, '1'), { recursive: true });
  assert.equal(await findNameSources(empty), null);
});
