import type { HostPackage } from './host-packages.ts';

/** Processors of the guests, as Debian names them. */
export type Architecture = 'amd64' | 'arm64';

interface ArchitectureFacts {
  /** The emulator, and the Debian package of this machine that has it. */
  qemu: string;
  qemuPackage: HostPackage;
  /** The board, with its IOMMU where the board brings it. */
  machine: string;
  /** The emulated processor: one on which the guest can have VMs of its own. */
  cpu: string;
  devices: readonly string[];
  kernelArguments: readonly string[];
  /** Prefix of the tools that compile for it in the tree that builds, which is one of amd64. */
  compilerPrefix: string;
  /** Packages of that tree with these tools, where it does not have them anyway. */
  compilerPackages: readonly string[];
  /** Packages of the guest for the trial of real VMs: QEMU of backports, with the firmware that it starts, and no display. */
  vmPackages: readonly string[];
}

/** All in which the architectures of the lab differ, but for page size (kernels.ts) and rows that need one of them (truth-table.ts). */
export const ARCHITECTURES: Readonly<Record<Architecture, ArchitectureFacts>> = {
  amd64: {
    qemu: 'qemu-system-x86_64',
    qemuPackage: 'qemu-system-x86',
    machine: 'q35',
    cpu: 'max,+svm',
    devices: ['-device', 'intel-iommu,intremap=on,caching-mode=on'],
    // On a loaded machine the emulated timer can be too slow for the kernel's test of it at boot.
    kernelArguments: ['console=ttyS0', 'intel_iommu=on', 'iommu=pt', 'no_timer_check'],
    compilerPrefix: '',
    compilerPackages: [],
    vmPackages: ['qemu-system-x86', 'seabios'],
  },
  arm64: {
    qemu: 'qemu-system-aarch64',
    qemuPackage: 'qemu-system-arm',
    machine: 'virt,iommu=smmuv3,gic-version=3,virtualization=on',
    // The kernel signs its return addresses: QEMU's own algorithm for that is many times faster than the architecture's.
    cpu: 'max,pauth-impdef=on',
    devices: [],
    // At EL2 (VHE) the kernel would run on the hypervisor's timer, which QEMU does not save (vmstate_arm_cpu).
    kernelArguments: ['console=ttyAMA0', 'iommu.passthrough=1', 'kvm-arm.mode=nvhe'],
    compilerPrefix: 'aarch64-linux-gnu-',
    compilerPackages: ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross'],
    vmPackages: [],
  },
};
