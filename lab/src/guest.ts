import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Image } from './image.ts';

/**
 * What the guest's vfio-pci-core speaks: the distribution's own, or rebuilt with the lab's lines, as 6.19 and 7.0 were or as
 * the posted private dialects are.
 */
export const GUEST_DIALECTS = ['mainline', 'legacy', 'private-v1', 'private-v2'] as const;
export type GuestDialect = (typeof GUEST_DIALECTS)[number];

export interface GuestOptions {
  image: Image;
  dialect: GuestDialect;
  /** Folder that the guest sees read-only at /lab. */
  share: string;
  /** Folder that the guest writes to at /out. */
  out: string;
  /** TCP ports of 127.0.0.1 that lead to ports of the guest. */
  forward?: readonly { host: number; guest: number }[];
  /** One processor whose clock jumps over the time in which it has nothing to do. */
  skipsIdle?: boolean;
  /** A shell on this terminal instead of the agent. */
  shell?: boolean;
}

export interface CommandResult {
  status: number;
  output: string;
}

/** The guest hung, panicked or powered off while it was needed; carries the end of its console. */
export class GuestError extends Error {
  override name = 'GuestError';
}

/**
 * Memory devices of the lab, each in an IOMMU group of its own: one on the root bus that cannot be reset, one behind a
 * root port that a bus reset reaches alone, and one that also takes a function-level reset and power states.
 */
export const LAB_DEVICES = {
  plain: '0000:00:08.0',
  resettable: '0000:01:00.0',
  capable: '0000:02:00.0',
} as const;

const DEVICES = [
  ...[
    '-object',
    'memory-backend-ram,id=bar0,size=16M,share=on',
    '-device',
    'ivshmem-plain,memdev=bar0,bus=pcie.0,addr=8.0',
  ],
  ...['-device', 'pcie-root-port,id=rp1,bus=pcie.0,chassis=1,slot=1,addr=10.0'],
  ...[
    '-object',
    'memory-backend-ram,id=bar1,size=4M,share=on',
    '-device',
    'ivshmem-plain,memdev=bar1,bus=rp1,addr=0.0',
  ],
  ...['-device', 'pcie-root-port,id=rp2,bus=pcie.0,chassis=2,slot=2,addr=11.0'],
  ...['-device', 'virtio-rng-pci,bus=rp2,addr=0.0'],
];

/** 8 ns for each instruction, and none for waiting. */
const SKIPS_IDLE = ['-smp', '1', '-icount', 'shift=3,sleep=off'];

/** What is shown of the console of a guest that does not answer. */
const CONSOLE_LINES = 40;

/** One booted guest: commands go to its agent, its console is kept. */
export class Guest {
  readonly #options: GuestOptions;
  readonly #directory: string;
  readonly #waiting = new Map<string, (result: CommandResult) => void>();
  #qemu: ChildProcess | undefined;
  #server: Server | undefined;
  #agent: Socket | undefined;
  #ended: Promise<void> = Promise.resolve();
  #alive = false;
  #next = 0;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: GuestOptions) {
    this.#options = options;
    this.#directory = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-lab-'));
  }

  /** The last lines that the guest's kernel and init wrote; of a kernel that came to grief all since then. */
  console(): string {
    try {
      const lines = readFileSync(join(this.#directory, 'console'), 'utf8').split('\n');
      const grief = lines.findIndex((line) => /Oops|BUG:|Kernel panic/.test(line));
      const last = Math.max(0, lines.length - CONSOLE_LINES);
      return lines.slice(grief === -1 ? last : Math.min(grief, last)).join('\n');
    } catch {
      return '';
    }
  }

  /** Boots and resolves when the agent answers; rejects with the console when it does not within `seconds`. */
  async start(seconds = 180): Promise<void> {
    const socket = join(this.#directory, 'agent');
    mkdirSync(this.#options.out, { recursive: true });
    const connected = new Promise<string>((resolve) => {
      this.#server = createServer((agent) => {
        this.#agent = agent;
        createInterface({ input: agent }).on('line', (line) => {
          const [id = '', status = '1', output = ''] = line.split(' ');
          if (id === 'ready') return resolve(Buffer.from(output, 'base64').toString());
          this.#waiting.get(id)?.({
            status: Number(status),
            output: Buffer.from(output, 'base64').toString(),
          });
          this.#waiting.delete(id);
        });
      });
    });
    await new Promise<void>((resolve) => this.#server?.listen(socket, resolve));
    // Apart from the terminal's group, so that Ctrl-C reaches us and not the guest; and it dies with us.
    const shell = this.#options.shell === true;
    const qemu = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', '--', 'qemu-system-x86_64', ...this.#arguments(socket)],
      shell ? { stdio: 'inherit' } : { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
    );
    let complaints = '';
    qemu.stderr?.on('data', (chunk: Buffer) => {
      complaints = `${complaints}${chunk}`.slice(-4000);
    });
    this.#qemu = qemu;
    this.#alive = true;
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        this.#alive = false;
        resolve();
      };
      qemu.on('close', end);
      qemu.on('error', (error) => {
        complaints += error.message;
        end();
      });
    });
    if (shell) return this.#ended;
    const problems = await this.#bounded(
      connected,
      seconds,
      () => `the guest's agent did not answer ${complaints}`,
    );
    if (problems !== '') throw new GuestError(`${problems}--- end of the guest's console\n${this.console()}`);
  }

  #arguments(socket: string): string[] {
    const { image, dialect, share, out, forward = [], shell } = this.#options;
    const ports = forward.map(({ host, guest }) => `,hostfwd=tcp:127.0.0.1:${host}-:${guest}`).join('');
    const words = [
      'console=ttyS0',
      'quiet',
      'panic=-1',
      'oops=panic',
      'intel_iommu=on',
      'iommu=pt',
      'net.ifnames=0',
      // On a loaded machine the emulated timer can be too slow for the kernel's test of it at boot.
      'no_timer_check',
      `lab.dialect=${dialect}`,
    ];
    return [
      ...[
        '-machine',
        'q35,accel=tcg',
        '-cpu',
        'max,+svm',
        ...(this.#options.skipsIdle ? SKIPS_IDLE : ['-smp', '2']),
        '-m',
        '3G',
        '-nodefaults',
        '-no-reboot',
        '-display',
        'none',
      ],
      ...[
        '-device',
        'intel-iommu,intremap=on,caching-mode=on',
        '-serial',
        `file:${join(this.#directory, 'console')}`,
      ],
      ...['-kernel', image.vmlinuz, '-initrd', image.initramfs],
      ...['-append', [...words, ...(shell === true ? ['lab.shell'] : [])].join(' ')],
      ...['-drive', `file=${image.disk},format=raw,if=virtio,snapshot=on`],
      ...['-virtfs', `local,path=${share},mount_tag=lab,security_model=none,readonly=on`],
      ...['-virtfs', `local,path=${out},mount_tag=out,security_model=none`],
      ...['-virtfs', `local,path=${image.kernelModules},mount_tag=modules,security_model=none,readonly=on`],
      ...['-device', 'virtio-serial-pci'],
      ...[
        '-chardev',
        `socket,id=agent,path=${socket}`,
        '-device',
        'virtserialport,chardev=agent,name=lab.agent',
      ],
      ...(shell === true
        ? ['-chardev', 'stdio,id=shell,signal=off', '-device', 'virtconsole,chardev=shell']
        : []),
      ...['-netdev', `user,id=net,restrict=on${ports}`, '-device', 'virtio-net-pci,netdev=net,romfile='],
      ...DEVICES,
    ];
  }

  /** Runs a shell script in the guest; a guest that does not answer within `seconds` is a GuestError. */
  run(script: string, seconds = 120): Promise<CommandResult> {
    const turn = this.#queue.then(() => this.#send(script, seconds));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  #send(script: string, seconds: number): Promise<CommandResult> {
    const id = String(++this.#next);
    const answer = new Promise<CommandResult>((resolve) => this.#waiting.set(id, resolve));
    this.#agent?.write(`${id} ${Buffer.from(script).toString('base64')}\n`);
    return this.#bounded(answer, seconds, () => `no answer to: ${script.slice(0, 200)}`);
  }

  async #bounded<T>(wanted: Promise<T>, seconds: number, what: () => string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const fail = (why: string): never => {
      throw new GuestError(`${what()} (${why})\n--- end of the guest's console\n${this.console()}`);
    };
    try {
      return await Promise.race([
        wanted,
        this.#ended.then(() => fail('the guest has ended')),
        new Promise<never>((_, reject) => {
          timer = setTimeout(() => {
            try {
              fail(`after ${seconds} s`);
            } catch (error) {
              reject(error);
            }
          }, seconds * 1000);
        }),
      ]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the guest at once; may be called twice. */
  async stop(): Promise<void> {
    if (this.#alive) this.#qemu?.kill('SIGKILL');
    await this.#ended;
    this.#agent?.destroy();
    this.#server?.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
