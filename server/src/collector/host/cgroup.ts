import { clean } from './vmm.ts';

/** What the control group of a process says of the VM; what it does not say is absent. */
export interface CgroupIdentity {
  /** The systemd scope of one VM, unescaped: `machine-qemu-7-web-7`, `101`. */
  scope?: string;
  /** The name that libvirt's machine carries, of which some characters may be missing. */
  machine?: string;
  /** UID of the Kubernetes pod. */
  pod_uid?: string;
  container_id?: string;
}

/**
 * A pod is known by its UID behind `pod`, whatever stands before it: kubelets have cgroup roots of their own
 * (`kubelet-kubepods-burstable-podUID.slice`). systemd's driver writes `_` for `-`; a static pod's UID is a hash without either.
 */
const POD =
  /^(?:.*[-_])?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?=$|:)/i;
/**
 * A container is known by its 64 digits at the end: bare, or behind the name of a runtime (`cri-containerd-`, `crio-`, `docker-`,
 * `libpod-`, `kata_`, `…:cri-containerd:`; `crio-conmon-` is the container's monitor). A `.slice` of 64 digits is Podman's pod.
 */
const CONTAINER = /(?:^|[-_:.])([0-9a-f]{64})(?:\.scope)?$/;
/** libvirt: DRIVER-[USER-]ID-NAME; the user stands there in a session of a user only. */
const MACHINE = /^machine-(?:qemu|ch)-(?:[^-]+-)??\d+-(.+)$/;

/** Reads /proc/PID/cgroup: one line in version 2 (`0::/path`), one for each hierarchy in version 1 (`4:cpu:/path`). */
export function identifyCgroup(text: string): CgroupIdentity {
  const found: CgroupIdentity = {};
  for (const line of text.split('\n')) {
    // The kernel adds ` (deleted)` where the group is gone (cgroup_path_ns of a dead one).
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
  // Of nested ones the innermost counts: a node of kind is a container itself.
  if (container !== undefined) found.container_id = container;
  if (!unit.endsWith('.scope') || container !== undefined) return;
  const scope = clean(unescapeUnit(unit.slice(0, -'.scope'.length)));
  if (scope === null) return;
  const machine = MACHINE.exec(scope)?.[1];
  // Other scopes (a login session, a terminal) name no VM. Proxmox puts each VM into one that is called by its number.
  if (!scope.startsWith('machine-') && parent !== 'qemu.slice') return;
  found.scope = scope;
  if (machine !== undefined) found.machine = machine;
}

/** systemd writes a byte that may not stand in the name of a unit as `\x2d`. */
function unescapeUnit(name: string): string {
  const bytes = name.replace(/\\x([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
