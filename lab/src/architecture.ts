import type { HostPackage } from './host-packages.ts';

/** Architectures of the guests, by Debian's names. */
export type Architecture = 'amd64' | 'arm64';

interface ArchitectureFacts {
  /** QEMU's program, and the Debian package on this machine that contains it. */
  qemu: string;
  qemuPackage: HostPackage;
  /** QEMU's machine type, with its IOMMU if the machine type includes one. */
  machine: string;
  /** The emulated CPU model. It must support virtualization, because the guest runs VMs. */
  cpu: string;
  devices: readonly string[];
  kernelArguments: readonly string[];
  /** Prefix of the cross compiler's tools. The tree that builds is amd64. */
  compilerPrefix: string;
  /** Packages that add these tools to that tree; empty if it already has them. */
  compilerPackages: readonly string[];
  /** Guest packages for the trial with a real VM: QEMU from backports without a display, and its firmware. */
  vmPackages: readonly string[];
}

/**
 * Differences between architectures. Page sizes are in kernels.ts; scenarios that need one architecture are in
 * truth-table.ts.
 */
export const ARCHITECTURES: Readonly<Record<Architecture, ArchitectureFacts>> = {
  amd64: {
    qemu: 'qemu-system-x86_64',
    qemuPackage: 'qemu-system-x86',
    machine: 'q35',
    cpu: 'max,+svm',
    devices: ['-device', 'intel-iommu,intremap=on,caching-mode=on'],
    // On a loaded machine the emulated timer can fail the kernel's timer check at boot.
    kernelArguments: ['console=ttyS0', 'intel_iommu=on', 'iommu=pt', 'no_timer_check'],
    compilerPrefix: '',
    compilerPackages: [],
    vmPackages: ['qemu-system-x86', 'seabios'],
  },
  arm64: {
    qemu: 'qemu-system-aarch64',
    qemuPackage: 'qemu-system-arm',
    machine: 'virt,iommu=smmuv3,gic-version=3,virtualization=on',
    // The kernel signs its return addresses. QEMU's own algorithm emulates that many times faster than the
    // architecture's.
    cpu: 'max,pauth-impdef=on',
    devices: [],
    // At EL2 (VHE) the kernel would use the hypervisor timer, which QEMU does not save (vmstate_arm_cpu).
    kernelArguments: ['console=ttyAMA0', 'iommu.passthrough=1', 'kvm-arm.mode=nvhe'],
    compilerPrefix: 'aarch64-linux-gnu-',
    compilerPackages: ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross'],
    vmPackages: [],
  },
};
