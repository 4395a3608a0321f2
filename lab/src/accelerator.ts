import { spawn } from 'node:child_process';
import { ARCHITECTURES, type Architecture } from './architecture.ts';

/** What runs the guest's instructions. */
export interface Accelerator {
  name: 'kvm' | 'tcg';
  /** The model of the guest's processor. */
  cpu: string;
  /** Why it is this one, for the report. */
  why: string;
}

/** What the initramfs prints on KVM where the guest runs and its processor has SVM, which kvm_amd and the lab's VM marks need. */
const WORKS = 'lab: this machine runs the guest';
const NO_SVM = 'lab: this machine has no nested SVM';

export interface TrialOptions {
  architecture: Architecture;
  vmlinuz: string;
  initramfs: string;
  /** The program to start; default qemu-system-x86_64. */
  qemu?: string;
  /** Longest time for the trial; default 20 s. */
  ms?: number;
}

/**
 * KVM where it boots the guest's own kernel to its first program and offers nested SVM, else emulation. That /dev/kvm exists
 * proves nothing: some hosts create a VM and then cannot run this kernel.
 */
export const chooseAccelerator = async (options: TrialOptions): Promise<Accelerator> => {
  const emulation = { name: 'tcg', cpu: ARCHITECTURES[options.architecture].cpu } as const;
  if (options.architecture !== 'amd64') return { ...emulation, why: 'the lab tries KVM for amd64 only' };
  const said = await tryKvm(options);
  if (said.includes(WORKS)) return { name: 'kvm', cpu: 'host', why: 'KVM boots the guest' };
  if (said.includes(NO_SVM)) return { ...emulation, why: 'KVM offers the guest no nested SVM' };
  const reason = said.split('\n').find((line) => /kvm|error|failed|denied|no such/i.test(line));
  return {
    ...emulation,
    why: `KVM cannot boot the guest: ${reason?.trim() ?? 'the guest did not start in time'}`,
  };
};

/** Boots the kernel on KVM as far as its first program; resolves with what QEMU and the guest printed. */
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
    let said = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), ms);
    const take = (chunk: Buffer): void => {
      said += chunk;
      // A guest that KVM gave up stays, stopped, until it is ended.
      if (/KVM internal error|KVM: entry failed|lab: this machine/.test(said)) child.kill('SIGKILL');
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', (error) => {
      said += error.message;
    });
    child.on('close', () => {
      clearTimeout(timer);
      resolve(said);
    });
  });
