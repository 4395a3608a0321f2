import { spawn } from 'node:child_process';
import { ARCHITECTURES, type Architecture } from './architecture.ts';

/** How QEMU runs the guest's instructions. */
export interface Accelerator {
  name: 'kvm' | 'tcg';
  /** The guest's CPU model, for QEMU's `-cpu`. */
  cpu: string;
  /** Why the lab chose it, for the log. */
  why: string;
}

/**
 * The initramfs prints one of these (lab/guest/initramfs-init). kvm_amd and the lab's VM marks need SVM in the guest.
 */
const WORKS = 'lab: this machine runs the guest';
const NO_SVM = 'lab: this machine has no nested SVM';

export interface TrialOptions {
  architecture: Architecture;
  vmlinuz: string;
  initramfs: string;
  /** QEMU's program; default qemu-system-x86_64. */
  qemu?: string;
  /** Time limit of the trial boot in milliseconds; default 20,000. */
  ms?: number;
}

/**
 * Chooses KVM if it boots the guest's kernel to its first program and offers nested SVM. Otherwise chooses emulation.
 * An existing /dev/kvm is not enough: some hosts create a VM and then cannot run this kernel.
 */
export async function chooseAccelerator(options: TrialOptions): Promise<Accelerator> {
  const emulation = { name: 'tcg', cpu: ARCHITECTURES[options.architecture].cpu } as const;
  if (options.architecture !== 'amd64') return { ...emulation, why: 'the lab tries KVM for amd64 only' };
  const output = await tryKvm(options);
  if (output.includes(WORKS)) return { name: 'kvm', cpu: 'host', why: 'KVM boots the guest' };
  if (output.includes(NO_SVM)) return { ...emulation, why: 'KVM offers the guest no nested SVM' };
  const reason = output.split('\n').find((line) => /kvm|error|failed|denied|no such/i.test(line));
  return {
    ...emulation,
    why: `KVM cannot boot the guest: ${reason?.trim() ?? 'the guest did not start in time'}`,
  };
}

/** Boots the kernel on KVM up to its first program. Resolves with the output of QEMU and of the guest. */
const tryKvm = ({
  vmlinuz,
  initramfs,
  qemu = 'qemu-system-x86_64',
  ms = 20_000,
}: TrialOptions): Promise<string> =>
  new Promise((resolve) => {
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', '--', qemu, '-machine', 'q35,accel=kvm', '-cpu', 'host', '-m', '512M'],
        ...['-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
        ...['-kernel', vmlinuz, '-initrd', initramfs, '-append', 'console=ttyS0 panic=-1 quiet lab.trial'],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let output = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), ms);
    const onData = (chunk: Buffer): void => {
      output += chunk;
      // After a KVM error QEMU stops the guest but does not exit.
      if (/KVM internal error|KVM: entry failed|lab: this machine/.test(output)) child.kill('SIGKILL');
    };
    child.stdout.on('data', onData);
    child.stderr.on('data', onData);
    child.on('error', (error) => {
      output += error.message;
    });
    child.on('close', () => {
      clearTimeout(timer);
      resolve(output);
    });
  });

/** Chosen once for all guests of an architecture, when the first one starts. */
const accelerators = new Map<Architecture, Promise<Accelerator>>();

export function accelerate(options: TrialOptions, log: (line: string) => void): Promise<Accelerator> {
  const { architecture } = options;
  const chosen =
    accelerators.get(architecture) ??
    chooseAccelerator(options).then((one) => {
      log(`the ${architecture} guests run ${one.name === 'kvm' ? 'on KVM' : 'in emulation'}: ${one.why}`);
      return one;
    });
  accelerators.set(architecture, chosen);
  return chosen;
}
