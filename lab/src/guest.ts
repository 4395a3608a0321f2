import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Accelerator } from './accelerator.ts';
import { ARCHITECTURES } from './architecture.ts';
import type { Image } from './image.ts';
import { machineArguments, PORTS } from './machine.ts';
import { Qmp } from './qmp.ts';

/**
 * Dialects of the guest's vfio-pci-core. `mainline` is the distribution's module. The others are rebuilt with the lab's
 * lines: `legacy` behaves as 6.19 and 7.0, `private-*` as the posted patches for private exports. `cdev` is unchanged code,
 * built with VFIO's device files and iommufd.
 */
export const GUEST_DIALECTS = [
  'mainline',
  'cdev',
  'legacy',
  'private-v1',
  'private-v2',
  'private-amd',
] as const;
export type GuestDialect = (typeof GUEST_DIALECTS)[number];

export interface GuestOptions {
  image: Image;
  dialect: GuestDialect;
  accelerator: Accelerator;
  /** Image of the disk that the guest mounts at /lab/program. */
  programDisk: string;
  /** TCP ports of 127.0.0.1 that are forwarded to ports of the guest. */
  forward?: readonly { host: number; guest: number }[];
  /** One CPU whose clock skips idle time. */
  skipsIdle?: boolean;
  /** systemd is the guest's init. */
  systemd?: boolean;
  /** Called with what the guest writes to its port lab.stream. */
  onStream?: (chunk: Buffer) => void;
}

export interface CommandResult {
  status: number;
  output: string;
}

/** The guest hung, panicked or powered off during the run. The message contains the end of its console. */
export class GuestError extends Error {
  override name = 'GuestError';
}

/** Lines of the console in an error. */
const CONSOLE_LINES = 40;

function listen(path: string, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer(onConnection);
    server.listen(path, () => resolve(server));
  });
}

/** One running guest. It sends commands to the guest's agent and keeps the guest's console and log. */
export class Guest {
  readonly #options: GuestOptions;
  readonly #directory: string;
  readonly #waiting = new Map<string, (result: CommandResult) => void>();
  readonly #servers: Server[] = [];
  readonly #sockets: Socket[] = [];
  #qemu: ChildProcess | undefined;
  #agent: Socket | undefined;
  /** Resolves `boot` with the problems that the guest's init found; empty for none. */
  #onReady: (problems: string) => void = () => undefined;
  /** The end of QEMU's standard error. */
  #qemuErrors = '';
  #ended: Promise<void> = Promise.resolve();
  #alive = false;
  #next = 0;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: GuestOptions) {
    this.#options = options;
    this.#directory = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-lab-'));
  }

  /** Path of the socket of the guest's terminal /dev/hvc0. */
  get shellSocket(): string {
    return join(this.#directory, PORTS.shell);
  }

  /** The last lines of the guest's kernel and init; after an oops or a panic, all lines from there on. */
  console(): string {
    const lines = this.#text('console').split('\n');
    const firstError = lines.findIndex((line) => /Oops|BUG:|Kernel panic/.test(line));
    const last = Math.max(0, lines.length - CONSOLE_LINES);
    return lines.slice(firstError === -1 ? last : Math.min(firstError, last)).join('\n');
  }

  /** The output of the guest's port lab.log. */
  log(): string {
    return this.#text('log');
  }

  #text(name: 'console' | 'log'): string {
    const file = join(this.#directory, PORTS[name]);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Boots and resolves when the agent answers. @throws GuestError with the console if it does not within `seconds`. */
  async boot(seconds = 180): Promise<void> {
    const ready = new Promise<string>((resolve) => {
      this.#onReady = resolve;
    });
    await this.#launch();
    const problems = await this.#bounded(
      ready,
      seconds,
      () => `the guest's agent did not answer ${this.#qemuErrors}`,
    );
    if (problems !== '') throw new GuestError(`${problems}--- end of the guest's console\n${this.console()}`);
  }

  /** Continues from a state that `save` wrote. @throws GuestError if the agent does not answer within `seconds`. */
  async resume(state: string, seconds = 60): Promise<void> {
    await this.#launch(`zstd -dc '${state}'`);
    const what = (): string => `the saved guest did not resume ${this.#qemuErrors}`;
    const monitor = await this.#bounded(this.#monitor(), seconds, what);
    await this.#bounded(monitor.resume(), seconds, what);
    monitor.close();
    await this.run('true', seconds);
  }

  /**
   * Stops the guest, writes its state to a file, calls `stopped`, and lets the guest continue. Disks are not part of
   * the state.
   */
  async save(file: string, stopped: () => void = () => undefined): Promise<void> {
    const monitor = await this.#monitor();
    await monitor.save(`zstd -1 -T2 -q -f -o '${file}'`);
    stopped();
    await monitor.execute('cont');
    monitor.close();
  }

  /** Connects to QEMU's monitor. Waits for its socket, which QEMU creates after it has started. */
  async #monitor(): Promise<Qmp> {
    const socket = join(this.#directory, PORTS.monitor);
    while (!existsSync(socket)) await sleep(20);
    return Qmp.connect(socket);
  }

  async #launch(state?: string): Promise<void> {
    const { image, dialect, accelerator, programDisk, forward = [] } = this.#options;
    const { skipsIdle = false, systemd = false } = this.#options;
    this.#servers.push(
      await listen(join(this.#directory, PORTS.agent), (socket) => this.#readAgent(socket)),
      await listen(join(this.#directory, PORTS.stream), (socket) => {
        this.#sockets.push(socket);
        socket.on('data', (chunk: Buffer) => this.#options.onStream?.(chunk));
        socket.on('error', () => undefined);
      }),
    );
    const { architecture } = image;
    const args = machineArguments({
      accelerator,
      architecture,
      directory: this.#directory,
      vmlinuz: image.vmlinuz,
      initramfs: image.initramfs,
      dialect,
      disks: [...image.disks, programDisk],
      forward,
      skipsIdle,
      systemd,
      ...(state !== undefined && { state }),
    });
    // Its own process group, so that Ctrl-C reaches this process only; --pdeathsig kills QEMU if this process dies.
    const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ARCHITECTURES[architecture].qemu, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    qemu.stderr?.on('data', (chunk: Buffer) => {
      this.#qemuErrors = `${this.#qemuErrors}${chunk}`.slice(-4000);
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
        this.#qemuErrors += error.message;
        end();
      });
    });
  }

  #readAgent(agent: Socket): void {
    this.#agent = agent;
    this.#sockets.push(agent);
    agent.on('error', () => undefined);
    createInterface({ input: agent }).on('line', (line) => {
      const [id = '', status = '1', encoded = ''] = line.split(' ');
      const output = Buffer.from(encoded, 'base64').toString();
      if (id === 'ready') return this.#onReady(output);
      this.#waiting.get(id)?.({ status: Number(status), output });
      this.#waiting.delete(id);
    });
  }

  /** Runs a shell script in the guest. @throws GuestError if the guest does not answer within `seconds`. */
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

  /** Kills the guest. May be called twice. */
  async stop(): Promise<void> {
    if (this.#alive) this.#qemu?.kill('SIGKILL');
    await this.#ended;
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
