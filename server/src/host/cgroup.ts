import { clean } from './vmm.ts';

/** Names and ids of the VM, from the control group of its process. Unknown ones are absent. */
export interface CgroupIdentity {
  /** The systemd scope of one VM, unescaped: `machine-qemu-7-web-7`, `101`. */
  scope?: string;
  /** The VM's name in libvirt's machine unit; some characters may be missing. */
  machine?: string;
  /** UID of the Kubernetes pod. */
  pod_uid?: string;
  container_id?: string;
}

/**
 * A pod is recognised by `pod` and its UID. Any prefix is accepted, because a kubelet may have a different cgroup root
 * (`kubelet-kubepods-burstable-podUID.slice`). The systemd driver writes `_` for `-`. The UID of a static pod is a hash
 * without both.
 */
const POD =
  /^(?:.*[-_])?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?=$|:)/i;
/**
 * A container is recognised by 64 hex digits at the end: alone, or after the prefix of a runtime (`cri-containerd-`,
 * `crio-`, `docker-`, `libpod-`, `kata_`, `…:cri-containerd:`; `crio-conmon-` is the container's monitor). A `.slice`
 * of 64 digits is a pod of Podman.
 */
const CONTAINER = /(?:^|[-_:.])([0-9a-f]{64})(?:\.scope)?$/;
/** libvirt: DRIVER-[USER-]ID-NAME; the user is only there in a session connection (qemu:///session). */
const MACHINE = /^machine-(?:qemu|ch)-(?:[^-]+-)??\d+-(.+)$/;

/** Parses /proc/PID/cgroup: one line for cgroup v2 (`0::/path`), one for each hierarchy of v1 (`4:cpu:/path`). */
export function identifyCgroup(text: string): CgroupIdentity {
  const found: CgroupIdentity = {};
  for (const line of text.split('\n')) {
    // The kernel appends ` (deleted)` if the group was removed (proc_cgroup_show).
    const path = line
      .split(':')
      .slice(2)
      .join(':')
      .replace(/ \(deleted\)$/, '');
    const units = path.split('/').filter((unit) => unit !== '');
    for (const [index, unit] of units.entries()) readUnit(unit, units[index - 1], found);
  }
  return found;
}

function readUnit(unit: string, parent: string | undefined, found: CgroupIdentity): void {
  const pod = POD.exec(unit)?.[1];
  if (pod !== undefined) found.pod_uid = pod.replaceAll('_', '-').toLowerCase();
  const container = CONTAINER.exec(unit)?.[1];
  // The innermost container is used: a node of kind is a container itself.
  if (container !== undefined) found.container_id = container;
  if (!unit.endsWith('.scope') || container !== undefined) return;
  const scope = clean(unescapeUnit(unit.slice(0, -'.scope'.length)));
  if (scope === null) return;
  const machine = MACHINE.exec(scope)?.[1];
  // Other scopes (a login session, a terminal) do not name a VM. Proxmox gives each VM a scope with the VM's number as
  // name.
  if (!scope.startsWith('machine-') && parent !== 'qemu.slice') return;
  found.scope = scope;
  if (machine !== undefined) found.machine = machine;
}

/** systemd escapes bytes that are not allowed in the name of a unit: `\x2d` is `-`. */
function unescapeUnit(name: string): string {
  const bytes = name.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
