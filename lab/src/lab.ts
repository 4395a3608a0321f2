import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Incident, KernelEvent, Status, TracerEvent } from '../../server/src/model/schema.ts';
import { TAGS } from '../../server/src/stream/codes.ts';
import { freePort } from './free-port.ts';
import { type CommandResult, Guest, type GuestDialect } from './guest.ts';
import { ensureImage } from './image.ts';
import { exportsDmaBufs, type Kernel } from './kernels.ts';
import { parseSamples, type Samples } from './samples.ts';
import { makeStage, type Stage } from './stage.ts';
import type { Suite } from './tree.ts';
import { placeWitness } from './witness.ts';

type Log = (line: string) => void;

export interface LabOptions {
  suite: Suite;
  kernel: Kernel;
  dialect: GuestDialect;
  log: Log;
  /** Files that the guest sees in /lab/files. */
  files?: readonly string[];
  skipsIdle?: boolean;
  /** Port of 127.0.0.1 that leads to the daemon in the guest; a free one is taken where none is given. */
  port?: number;
}

/** What one step of a workload answered. */
export interface Step {
  verb: string;
  ret: number;
  errno: number;
  inode: number;
}

/**
 * The first VM and the end of the last have the kernel patch its scheduler (preempt_notifier_inc), and an emulated machine of several
 * processors does not always survive that: one VM stays, and the script fails where it does not.
 */
const KEEPS_A_VM = `
  /lab/bin/session vm=kept touch=/run/kept-vm sleep=86400 >/run/kept-vm.out 2>&1 </dev/null &
  n=0
  until [ -e /run/kept-vm ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 300 ] || { cat /run/kept-vm.out; exit 1; }; done
  ! grep 'verb=vm ret=-' /run/kept-vm.out`;

/** A booted guest with the daemon tracing in it, and what a scenario needs of both. */
export class Lab {
  readonly options: LabOptions;
  readonly guest: Guest;
  readonly stage: Stage;
  readonly url: string;

  private constructor(options: LabOptions, guest: Guest, stage: Stage, port: number) {
    this.options = options;
    this.guest = guest;
    this.stage = stage;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Boots the guest and places the witness; the daemon is started apart. */
  static async open(options: LabOptions): Promise<Lab> {
    const { suite, kernel, dialect, log } = options;
    const image = await ensureImage(suite, kernel, log);
    const stage = makeStage(image, options.files);
    const port = options.port ?? (await freePort());
    const guest = new Guest({
      image,
      dialect,
      share: stage.share,
      out: stage.out,
      skipsIdle: options.skipsIdle ?? false,
      forward: [{ host: port, guest: 10043 }],
    });
    const lab = new Lab(options, guest, stage, port);
    try {
      log(`booting ${image.release}, user space ${suite}, dialect ${dialect}`);
      await guest.start();
      await lab.command(KEEPS_A_VM);
      if (exportsDmaBufs(kernel)) await placeWitness(guest, dialect);
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** Starts the daemon, which records its stream, and does not wait for it. */
  async launchDaemon(): Promise<void> {
    await this.command(
      `mkdir -p /run/tracer; cd /run/tracer
       node /lab/dist/vfio-dmabuf-tracer.mjs run --web.listen-address 0.0.0.0:10043 --record /out/stream.ndjson --log.format json \\
         >/out/daemon.log 2>&1 & echo $! >/run/tracer/pid`,
    );
  }

  /** Starts the daemon and resolves when it says that it is ready. */
  async startDaemon(seconds = 300): Promise<void> {
    await this.launchDaemon();
    await this.until(
      'the daemon to be ready',
      seconds,
      async () => (await this.get('/-/ready')).status === 200,
    );
  }

  /** Stops the daemon and resolves with its exit code. */
  async stopDaemon(): Promise<void> {
    await this.command(
      `kill -TERM $(cat /run/tracer/pid)
       n=0; while kill -0 $(cat /run/tracer/pid) 2>/dev/null; do sleep 0.2; n=$((n + 1)); [ $n -lt 150 ] || exit 9; done`,
    );
  }

  /** Runs a script in the guest; one that fails is an error with its output. */
  async command(script: string, seconds = 120): Promise<string> {
    const result: CommandResult = await this.guest.run(script, seconds);
    if (result.status !== 0) throw new Error(`exit ${result.status} of ${script}\n${result.output}`);
    return result.output;
  }

  /** Runs a workload session to its end. */
  async session(...steps: string[]): Promise<Step[]> {
    return parseSteps((await this.command(sessionOf(steps))).split('\n'));
  }

  /** Starts a workload session that goes on; `finish` resolves with its steps when it has ended. */
  async background(name: string, ...steps: string[]): Promise<{ finish(): Promise<Step[]>; pid: number }> {
    const file = `/tmp/session-${name}`;
    await this.command(
      `rm -f ${file}.*; (${sessionOf(steps)} >${file}.out 2>&1; echo $? >${file}.status) & sleep 0.2`,
    );
    const pid = Number((await this.command('pgrep -n session || echo 0')).trim());
    return {
      pid,
      finish: async () => {
        const output = await this.command(
          `n=0; while [ ! -e ${file}.status ]; do sleep 0.2; n=$((n + 1)); [ $n -lt 500 ] || exit 9; done; cat ${file}.out`,
        );
        return parseSteps(output.split('\n'));
      },
    };
  }

  /** Ends the sessions that a scenario which failed has left, for they hold its devices. */
  async endSessions(): Promise<void> {
    await this.command(
      `for pid in $(pgrep -x session); do grep -qa vm=kept /proc/$pid/cmdline || kill -KILL $pid; done
       find /tmp -maxdepth 1 -type f -empty -delete`,
    );
  }

  async get(path: string): Promise<{ status: number; body: string }> {
    try {
      const response = await fetch(this.url + path, { signal: AbortSignal.timeout(30_000) });
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

  /** What the kernel told after a position, oldest first. */
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

  /** Resolves when the daemon has read its counters after all that has happened in the guest up to now. */
  async settle(): Promise<Status> {
    const now = Number(await this.command('date +%s%3N'));
    let status = await this.status();
    await this.until('the counters to be read', 240, async () => {
      status = await this.status();
      return (
        status.last_counter_read !== null &&
        Date.parse(status.last_counter_read) > now + 1000 &&
        status.state === 'tracing'
      );
    });
    return status;
  }

  /** Resolves when the recording has got past the counter read of a status: lines are written up to a second late. */
  async recorded({ last_counter_read: read }: Status): Promise<void> {
    await this.until('the recording to catch up', 30, async () => {
      const lines = this.stream();
      const header = JSON.parse(lines[0] ?? '{}') as { data?: { boot_epoch_us?: number } };
      const beat = lines.findLast((line) => line.includes(`"data": [${TAGS.heartbeat},`));
      const t = Number((beat === undefined ? [] : (JSON.parse(beat) as { data: number[] }).data)[1] ?? 0);
      return (header.data?.boot_epoch_us ?? 0) + t > Date.parse(read ?? '') * 1000 + 1_000;
    });
  }

  async until(what: string, seconds: number, done: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await done())) {
      if (Date.now() > deadline) throw new Error(`waited ${seconds} s for ${what}\n${this.daemonLog()}`);
      await sleep(250);
    }
  }

  daemonLog(): string {
    try {
      return readFileSync(join(this.stage.out, 'daemon.log'), 'utf8').split('\n').slice(-30).join('\n');
    } catch {
      return '(the daemon has written no log)';
    }
  }

  /** The stream as the daemon has recorded it so far. */
  stream(): string[] {
    return readFileSync(join(this.stage.out, 'stream.ndjson'), 'utf8').split('\n').slice(0, -1);
  }

  async close(): Promise<void> {
    await this.guest.stop();
    this.stage.remove();
  }
}

/** The command that runs a workload session of these steps. */
export const sessionOf = (steps: readonly string[]): string =>
  `/lab/bin/session ${steps.map((step) => `'${step}'`).join(' ')}`;

const parseSteps = (lines: readonly string[]): Step[] =>
  lines.flatMap((line) => {
    const fields = Object.fromEntries(line.split(' ').map((pair) => pair.split('=')));
    if (fields.verb === undefined) return [];
    return [
      {
        verb: fields.verb,
        ret: Number(fields.ret),
        errno: Number(fields.errno),
        inode: Number(fields.inode ?? 0),
      },
    ];
  });
