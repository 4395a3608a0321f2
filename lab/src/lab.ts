import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KernelEvent, TracerEvent } from '../../server/src/contract/events.ts';
import type { Incident } from '../../server/src/contract/incidents.ts';
import type { Status } from '../../server/src/contract/status.ts';
import { TAGS } from '../../server/src/protocol/tuples.ts';
import { type Accelerator, accelerate } from './accelerator.ts';
import { ARCHITECTURES } from './architecture.ts';
import { collectorCode } from './collector-code.ts';
import { freePort } from './free-port.ts';
import { type CommandResult, Guest, type GuestDialect } from './guest.ts';
import { prepareScript, START_COLLECTOR, START_DAEMON } from './guest-scripts.ts';
import { HostServer } from './host-server.ts';
import { ensureImage, type Image } from './image.ts';
import type { Kernel } from './kernels.ts';
import { machineArguments } from './machine.ts';
import { stepOn } from './page-size.ts';
import { parseSamples, type Samples } from './samples.ts';
import { qemuVersion, removeHalfSaved, SavedGuest } from './saved-guests.ts';
import { parseSteps, type RunningSession, type Step, sessionOf, startSession } from './session.ts';
import { makeStage, PROGRAM, type Stage } from './stage.ts';
import { StreamTap } from './stream-tap.ts';
import type { Suite } from './tree.ts';

type Log = (line: string) => void;

export interface LabOptions {
  suite: Suite;
  kernel: Kernel;
  dialect: GuestDialect;
  log: Log;
  /** Files that are copied into /lab/files of the guest. */
  files?: readonly string[];
  skipsIdle?: boolean;
  /** systemd is the guest's init. */
  systemd?: boolean;
  /** Port of 127.0.0.1 that the server listens on; default is a free port. */
  port?: number;
}

/**
 * Upper bound for the duration of one counter read. A read that ends later than this after a call began after the call.
 */
const WALK_US = 300_000;

/**
 * A guest with a collector, and the server for its stream. The server runs on this machine, because the emulated CPU is
 * slow: the guest runs only what must run on the traced kernel.
 */
export class Lab {
  readonly options: LabOptions;
  /** URL of the daemon that the methods query: the server on this machine, or one in the guest (`launchInGuest`). */
  url: string;
  readonly tap = new StreamTap();
  readonly #image: Image;
  readonly #accelerator: Accelerator;
  readonly #stage: Stage;
  readonly #port: number;
  readonly #guestPort: number;
  #guest: Guest;
  #server: HostServer | undefined;

  // biome-ignore lint/style/useConsistentMemberAccessibility: a constructor has no # form
  private constructor(
    options: LabOptions,
    image: Image,
    chosen: Accelerator,
    stage: Stage,
    ports: { server: number; guest: number },
  ) {
    this.options = options;
    this.#image = image;
    this.#accelerator = chosen;
    this.#stage = stage;
    this.#port = ports.server;
    this.#guestPort = ports.guest;
    this.#guest = this.#newGuest();
    this.url = `http://127.0.0.1:${ports.server}`;
  }

  get guest(): Guest {
    return this.#guest;
  }

  /** Starts a guest with the oracle and without a collector. */
  static async open(options: LabOptions): Promise<Lab> {
    const lab = await Lab.#make(options);
    return lab.#closedOnError(() => lab.#start());
  }

  /** Starts a guest with a collector, and its server. Resolves when the daemon is ready and has its first snapshot. */
  static async tracing(options: LabOptions): Promise<Lab> {
    const lab = await Lab.#make(options);
    return lab.#closedOnError(async () => {
      const saved = lab.#savedTracing();
      if (await lab.#resumeTracing(saved)) return;
      await saved.make(async () => {
        await lab.#start();
        await lab.startDaemon();
        await lab.until('the first snapshot', 120, async () => (await lab.status()).buffer_state_exact);
        await lab.#keepTracing(saved);
      });
    });
  }

  static async #make(options: LabOptions): Promise<Lab> {
    const { suite, kernel, log, files, port } = options;
    const image = await ensureImage(suite, kernel, log);
    removeHalfSaved();
    const chosen = await accelerate(image, log);
    const stage = await makeStage(files);
    const ports = { server: port ?? (await freePort()), guest: await freePort() };
    return new Lab(options, image, chosen, stage, ports);
  }

  async #closedOnError(action: () => Promise<void>): Promise<Lab> {
    try {
      await action();
      return this;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  #newGuest(programDisk = this.#stage.disk): Guest {
    const { dialect, skipsIdle = false, systemd = false } = this.options;
    return new Guest({
      image: this.#image,
      dialect,
      accelerator: this.#accelerator,
      programDisk,
      skipsIdle,
      systemd,
      forward: [{ host: this.#guestPort, guest: 10043 }],
      onStream: this.tap.take,
    });
  }

  /** Boots a guest, or resumes one that was saved after its boot. */
  async #start(): Promise<void> {
    const { suite, kernel, dialect, log } = this.options;
    const saved = this.#saved('booted');
    const state = this.#resumes ? await saved.find() : undefined;
    if (state === undefined || !(await this.#resume(saved, state, this.#stage.disk))) {
      await saved.make(async () => {
        log(`booting ${this.#image.release}, user space ${suite}, dialect ${dialect}`);
        await this.guest.boot();
        await this.command(prepareScript(kernel, dialect));
        if (this.#resumes) await saved.keep((directory) => this.guest.save(join(directory, 'state.zst')));
      });
    }
    // The clock stops while a guest is saved. After a save of ten seconds all counters would look stale.
    await this.command(`date -s @${(Date.now() / 1000).toFixed(3)}; mount -o ro /dev/vdd /lab/program`);
  }

  /** On KVM a boot is faster than reading a saved state. */
  get #resumes(): boolean {
    return this.options.skipsIdle !== true && this.#accelerator.name === 'tcg';
  }

  /** The program disk of a saved tracing guest is fixed, so it cannot contain the caller's files. */
  get #resumesTracing(): boolean {
    return this.#resumes && this.options.files === undefined;
  }

  #saved(
    stage: 'booted' | 'tracing',
    made: readonly string[] = [],
    files: readonly string[] = [],
  ): SavedGuest {
    const { suite, kernel, dialect, systemd = false, log } = this.options;
    const { architecture, vmlinuz, initramfs, disks } = this.#image;
    const machine = machineArguments({
      ...{ accelerator: this.#accelerator, directory: '', dialect, forward: [], skipsIdle: false, systemd },
      ...{ architecture, vmlinuz, initramfs, disks },
    });
    const all = [
      qemuVersion(ARCHITECTURES[architecture].qemu),
      ...machine,
      prepareScript(kernel, dialect),
      ...made,
    ];
    return new SavedGuest(`${systemd ? 'systemd' : stage}-${kernel}-${suite}-${dialect}`, all, files, log);
  }

  #savedTracing(): SavedGuest {
    const made = [START_COLLECTOR, ...collectorCode(PROGRAM)];
    return this.#saved('tracing', made, [join(PROGRAM, 'probes')]);
  }

  async #resumeTracing(saved: SavedGuest): Promise<boolean> {
    const directory = this.#resumesTracing ? await saved.find() : undefined;
    if (directory === undefined) return false;
    if (!(await this.#resume(saved, directory, join(directory, 'program.ext4')))) return false;
    const uptime = Number((await this.command('cut -d" " -f1 /proc/uptime')).trim());
    this.tap.continue(readFileSync(join(directory, 'stream.ndjson'), 'utf8'), Math.round(uptime * 1e6));
    await this.#serve();
    await this.#ready(60);
    return true;
  }

  /**
   * Resumes a saved guest and resolves with true. If that fails, discards the state, makes a new guest, and resolves
   * with false.
   */
  async #resume(saved: SavedGuest, directory: string, programDisk: string): Promise<boolean> {
    const { log } = this.options;
    try {
      await this.guest.stop();
      this.#guest = this.#newGuest(programDisk);
      await this.guest.resume(join(directory, 'state.zst'));
      log(`resumed a saved guest: ${this.#image.release}, ${basename(directory)}`);
      return true;
    } catch (error) {
      log(`cannot resume a saved guest; discarding it: ${String(error)}`);
      saved.discard();
      await this.guest.stop();
      this.tap.clear();
      this.#guest = this.#newGuest();
      return false;
    }
  }

  async #keepTracing(saved: SavedGuest): Promise<void> {
    if (!this.#resumesTracing) return;
    await saved.keep(async (directory) => {
      await this.guest.save(join(directory, 'state.zst'), () => {
        // The guest is stopped, so these are exactly its lines up to the saved state.
        writeFileSync(join(directory, 'stream.ndjson'), this.tap.text);
      });
      copyFileSync(this.#stage.disk, join(directory, 'program.ext4'));
    });
  }

  /** Starts a collector in the guest and the server for its stream. Does not wait for them. */
  async launchDaemon(): Promise<void> {
    this.tap.clear();
    await this.command(START_COLLECTOR);
    await this.#serve();
  }

  async #serve(): Promise<void> {
    await this.#server?.stop();
    this.#server = new HostServer(this.#port);
    this.url = `http://127.0.0.1:${this.#port}`;
    this.tap.feed(this.#server.input);
  }

  /** Starts the collector and the server. Resolves when /-/ready answers 200. */
  async startDaemon(seconds = 300): Promise<void> {
    await this.launchDaemon();
    await this.#ready(seconds);
  }

  #ready(seconds: number): Promise<void> {
    return this.until(
      'the daemon to be ready',
      seconds,
      async () => (await this.get('/-/ready')).status === 200,
    );
  }

  /** Starts the complete daemon in the guest; the methods query it from then on. Does not wait for it. */
  async launchInGuest(): Promise<void> {
    await this.command(START_DAEMON);
    this.queryGuest();
  }

  /** The methods query the daemon in the guest from now on. */
  queryGuest(): void {
    this.url = `http://127.0.0.1:${this.#guestPort}`;
  }

  /** Stops the daemon in the guest, or the collector in the guest and the server on this machine. */
  async stopDaemon(): Promise<void> {
    await this.command(
      `kill -TERM $(cat /run/tracer/pid)
       n=0; while kill -0 $(cat /run/tracer/pid) 2>/dev/null; do sleep 0.2; n=$((n + 1)); [ $n -lt 150 ] || exit 9; done`,
    );
    await this.#server?.stop();
    this.#server = undefined;
  }

  /** Runs a script in the guest and returns its output. @throws Error with the output if the script fails. */
  async command(script: string, seconds = 120): Promise<string> {
    const result: CommandResult = await this.guest.run(script, seconds);
    if (result.status !== 0) throw new Error(`exit ${result.status} of ${script}\n${result.output}`);
    return result.output;
  }

  /** Runs a workload session to its end. */
  async session(...steps: string[]): Promise<Step[]> {
    return parseSteps((await this.command(this.sessionCommand(...steps))).split('\n'));
  }

  /** The command of a workload session, with its sizes converted to the page size of this kernel. */
  sessionCommand(...steps: string[]): string {
    return sessionOf(steps.map((step) => stepOn(this.options.kernel, step)));
  }

  /** Starts a workload session in the background; `finish` resolves with its steps when it has ended. */
  async background(name: string, ...steps: string[]): Promise<RunningSession> {
    return startSession((script) => this.command(script), name, this.sessionCommand(...steps));
  }

  /** Kills the sessions that a failed scenario left behind, because they keep its devices open. */
  async endSessions(): Promise<void> {
    await this.command(
      `for pid in $(pgrep -x session); do grep -qa vm=kept /proc/$pid/cmdline || kill -KILL $pid; done
       find /tmp -maxdepth 1 -type f -empty -delete`,
    );
  }

  /** The answer to a GET; status 0 if there is none within `seconds`. */
  async get(path: string, seconds = 30): Promise<{ status: number; body: string }> {
    try {
      const response = await fetch(this.url + path, { signal: AbortSignal.timeout(seconds * 1000) });
      return { status: response.status, body: await response.text() };
    } catch (error) {
      return { status: 0, body: String(error) };
    }
  }

  async status(): Promise<Status> {
    return JSON.parse((await this.get('/api/v1/status')).body) as Status;
  }

  async samples(): Promise<Samples> {
    return parseSamples((await this.get('/metrics')).body);
  }

  /** The kernel events after this sequence number, oldest first. */
  async events(after: number): Promise<KernelEvent[]> {
    const events: KernelEvent[] = [];
    for (let next = after; ; ) {
      const page = JSON.parse((await this.get(`/api/v1/events?after=${next}&limit=1000`)).body) as {
        events: TracerEvent[];
      };
      events.push(...page.events.filter((event) => event.kind !== 'incident'));
      const last = page.events.at(-1);
      if (last === undefined) return events;
      next = last.seq;
    }
  }

  /** The incidents of a kind that are open. */
  async openIncidents(kind: Incident['kind']): Promise<Incident[]> {
    const { body } = await this.get(`/api/v1/incidents?kind=${kind}&state=open`);
    return (JSON.parse(body) as { incidents: Incident[] }).incidents;
  }

  /** Resolves when the daemon has read its counters after everything that the guest did before this call. */
  async settle(): Promise<Status> {
    const now = Number(await this.command('cut -d" " -f1 /proc/uptime')) * 1e6;
    let status = await this.status();
    await this.until('the counters to be read', 240, async () => {
      status = await this.status();
      const read = Date.parse(status.last_counter_read ?? '') * 1000 - this.tap.bootEpochUs;
      return read > now + WALK_US && status.state === 'tracing';
    });
    return status;
  }

  async until(what: string, seconds: number, done: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await done())) {
      if (Date.now() > deadline) throw new Error(`waited ${seconds} s for ${what}\n${this.daemonLog()}`);
      await sleep(50);
    }
  }

  /** The last 40 lines of the collector's log followed by the server's log. */
  daemonLog(): string {
    const lines = [...this.guest.log().split('\n'), ...(this.#server?.log().split('\n') ?? [])];
    return lines.slice(-40).join('\n');
  }

  /** The lines of the stream so far. */
  stream(): readonly string[] {
    return this.tap.lines;
  }

  /** Number of lines of the stream up to the end of the last counter read. */
  linesRead(): number {
    return this.tap.lines.findLastIndex((line) => line.includes(`"data": [${TAGS.read_end},`)) + 1;
  }

  async close(): Promise<void> {
    await this.guest.stop();
    await this.#server?.stop();
    this.#stage.remove();
  }
}
