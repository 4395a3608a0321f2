import { type Static, Type } from 'typebox';
import { ROUTES } from '../protocol/codes.ts';

/** Fields that several schemas share. Times are ISO 8601 in UTC. */

export function Nullable<T extends Parameters<typeof Type.Union>[0][number]>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}
export const DeviceAddress = Type.String({
  description: 'PCI address, e.g. 0000:41:00.0; unknown if the kernel no longer has it',
});
export const Errno = Type.Integer({ minimum: 0, description: 'positive errno, 0 is success' });

/** How the process of a VM was found. */
export const VM_BY = ['kvm', 'owner', 'holder', 'task'] as const;
export type VmBy = (typeof VM_BY)[number];

/** The VM of a device or a call; null in a field means unknown. docs/identity.md describes the source of each field. */
export const VmRef = Type.Object({
  pid: Type.Integer(),
  by: Type.Enum([...VM_BY], {
    description:
      'how the process was found. kvm: it created the VM (kvm->userspace_pid). owner: a known VMM that exported the ' +
      'buffer. holder: a known VMM that has the VFIO device open. Those two apply if the kernel links no VM, or if its ' +
      'pid belongs to another process. task: it made the call.',
  }),
  kind: Type.String({ description: 'default, sw_protected, sev, sev_es, snp, tdx, type_N, or unknown' }),
  vmm: Nullable(Type.String({ description: 'the VMM, such as qemu: docs/identity.md lists them' })),
  name: Nullable(Type.String()),
  uuid: Nullable(Type.String()),
  pod_uid: Nullable(Type.String({ description: 'UID of the Kubernetes pod of the VM' })),
  pod_name: Nullable(Type.String()),
  pod_namespace: Nullable(Type.String()),
  container_id: Nullable(Type.String()),
  container_name: Nullable(Type.String({ description: 'in a pod, the name in its specification' })),
});
export type VmRef = Static<typeof VmRef>;

export const ImporterInterface = Nullable(
  Type.String({ description: 'interface name of the importing PCI device, such as mlx5_0, card1, eth0' }),
);
export const ByVm = Nullable(VmRef);
/** Of a mapping. docs/faq.md explains the routes. */
export const MappingRoute = Nullable(
  Type.Enum([...ROUTES], {
    description:
      'how requests of the importing device reach the memory: within one device or PCIe switch (bus), through the ' +
      'root complex with physical addresses (host_bridge) or translated by the IOMMU (iommu); null without a mapping ' +
      'that has a route',
  }),
);
