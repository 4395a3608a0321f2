import { pino } from 'pino';
import { loadConfig } from '../../server/src/config/load.ts';
import type { Config } from '../../server/src/config/schema.ts';
import { Daemon } from '../../server/src/daemon.ts';
import { systemClock } from '../../server/src/lib/clock.ts';
import type { MapName } from '../../server/src/protocol/declared.ts';
import type { LineSource } from '../../server/src/protocol/source.ts';
import { type StreamLine, streamLine } from '../../server/src/protocol/stream-line.ts';
import {
  ALL_PROBES,
  bufferState,
  collectorLine,
  counterRead,
  DEVICE,
  eventLine,
  exported,
  heartbeat,
  imported,
  type MapContent,
  packName,
  ready,
  snapshot,
  starting,
  tupleLine,
} from '../../server/test/fixtures/stream-lines.ts';

const S = 1_000_000;
/** The time of the stream when a host starts. The hour before it can have events. */
const NOW = 3600 * S;
const TICK_MS = 300;
const IMPORTERS = ['kvm', 'iommu', 'mlx5_core', 'vgem'] as const;

/** A daemon in this process. The test writes its stream, so its counters change. */
export class LiveHost implements LineSource {
  readonly kind = 'live';
  readonly name = 'bpftrace';
  readonly daemon: Daemon;
  readonly #past: (host: LiveHost) => readonly string[];
  readonly #tick: (host: LiveHost, count: number) => readonly string[];
  readonly #simulation: string | undefined;
  readonly #started = Date.now();
  #write: (line: StreamLine) => void = () => {};
  /** Lines of counter reads so far. Each read ends with this number. */
  read = 0;
  /** Writes nothing by itself, as if its child had ended. */
  quiet = false;

  constructor({ past, tick, config = {}, simulation }: LiveHostOptions) {
    this.#simulation = simulation;
    this.#past = past;
    this.#tick = tick;
    this.daemon = new Daemon({
      config: {
        ...loadConfig({ environment: {}, flags: [], file: undefined }),
        'web.listen-address': ['127.0.0.1:0'],
        ...config,
      },
      // As if its file had been removed, so a reload fails.
      loadConfig: () => loadConfig({ environment: {}, flags: [], file: '/nowhere/tracer.yml' }),
      source: this,
      version: '0.1.0',
      logger: pino({ level: 'silent' }),
      clock: systemClock,
    });
  }

  get now(): number {
    return NOW + (Date.now() - this.#started) * 1000;
  }

  get address(): string {
    return this.daemon.server.urls[0]?.replace('http://', '') ?? '';
  }

  /** A complete read of these maps. */
  counters(maps: Partial<Record<MapName, MapContent>>): string[] {
    const lines = counterRead(this.now, maps, this.read);
    this.read += lines.length - 1;
    return lines;
  }

  write(...lines: readonly string[]): void {
    for (const line of lines) this.#write(streamLine(line));
  }

  run(onLine: (line: StreamLine) => void, signal: AbortSignal): Promise<void> {
    this.#write = onLine;
    const header = {
      format: 1,
      tracer: '0.1.0',
      kernel: '7.3.4',
      boot_epoch_us: this.#started * 1000 - NOW,
      t: S,
      ...(this.#simulation === undefined ? {} : { simulation: this.#simulation }),
    } as const;
    this.write(collectorLine('header', header), ...this.#past(this));
    let count = 0;
    const timer = setInterval(() => {
      if (this.quiet) return;
      count += 1;
      this.write(...this.#tick(this, count));
    }, TICK_MS);
    return new Promise((resolve) =>
      signal.addEventListener('abort', () => {
        clearInterval(timer);
        resolve();
      }),
    );
  }
}

export interface LiveHostOptions {
  /** The lines at the start, with times before now. */
  past: (host: LiveHost) => readonly string[];
  /** The lines of a tick; `count` is its number. */
  tick: (host: LiveHost, count: number) => readonly string[];
  config?: Partial<Config>;
  /** Faults that its collector reports as simulated. */
  simulation?: string;
}

/** Every counter of the kernel at `n`. */
function everyCounter(n: number): Partial<Record<MapName, MapContent>> {
  const stages = IMPORTERS.flatMap((name) => [1, 3, 4].map((stage) => `${stage},${packName(name)}`));
  const ofDevice = stages.map((stage) => stage.replace(',', `,${DEVICE},2,`));
  const each = (keys: readonly string[], rest = ''): Record<string, number> =>
    Object.fromEntries(keys.map((key) => [`${key}${rest}`, n]));
  const names = IMPORTERS.map(packName);
  return {
    exports: { [`${DEVICE},2`]: n },
    export_bytes: { [`${DEVICE},2`]: 4096 * n },
    export_rejections: { [`${DEVICE},22,17`]: n },
    export_ns: 5000 * n,
    export_bucket: { '2': n },
    releases: n,
    revocations: { [`${DEVICE},2`]: n },
    restores: { [`${DEVICE},2`]: n },
    revoke_ns: 2e9 * n,
    // Bucket 11 has two seconds.
    revoke_bucket: { '4': n, '11': n },
    imports: { ...each(ofDevice), [`12,${DEVICE},2,${packName('kvm')}`]: n },
    import_rejections: {
      ...each(
        names.map((name) => `1,${DEVICE},2,${name}`),
        ',95,7',
      ),
      [`4,${DEVICE},2,${packName('kvm')},22,4`]: n,
      [`12,${DEVICE},2,${packName('kvm')},5,9`]: n,
    },
    import_ns: each(stages),
    import_bucket: each(stages, ',3'),
    detaches: each(names.map((name) => `${DEVICE},2,${name}`)),
    unmaps: each(names.map((name) => `${DEVICE},2,${name}`)),
    mapping_routes: each(
      names.map((name) => `${DEVICE},2,${name}`),
      ',2',
    ),
    zaps: { [`${DEVICE},2`]: n },
    late_releases: { [`${DEVICE}`]: n },
    private_reads: { '1': n },
    private_read_rejections: { '1,22,2': n },
    policy_violations: { '1': n, '2': n, '3': n, '4': n },
    missed: n,
  };
}

function attached(t: number, inode: number, importer: string, stage = 1) {
  return imported({ t, inode, stage, importer });
}
function bind(t: number, inode: number, violation: number) {
  return tupleLine('bind', t, 10, 300, DEVICE, inode, 0, 0, violation, 300, 200, 4096, 4096, 2, 'qemu');
}
function vmProcess(t: number) {
  return collectorLine('process', {
    t,
    pid: 200,
    start_ticks: 77,
    comm: 'qemu-system-x86',
    vmm: 'qemu',
    name: 'vault',
    uuid: '2b1c9f3e-0000-4000-8000-000000000001',
  });
}
function deviceLine(t: number) {
  return collectorLine('device', {
    t,
    device: '0000:41:00.0',
    vendor_id: '10de',
    device_id: '2330',
    driver: 'vfio-pci',
    iommu_group: '42',
    numa_node: 1,
  });
}

/** A private kernel on which all counters grow, with an open incident of each of its kinds. */
export function busyHost(): LiveHost {
  const at = (seconds: number) => NOW - seconds * S;
  const OLD = 600;
  const mine = { pid: 200, kvm_pid: 200, vm_type: 4, privacy: 2 };
  return new LiveHost({
    past: () => [
      starting(at(OLD + 2), 1),
      ready(at(OLD + 1)),
      deviceLine(at(OLD)),
      vmProcess(at(OLD)),
      snapshot(at(OLD), []),
      exported({ t: at(OLD), inode: 1, ...mine }),
      // Bound by another VM, and accepted after a failed lookup.
      attached(at(OLD), 1, 'kvm'),
      bind(at(OLD), 1, 1),
      bind(at(OLD), 77, 2),
      // Offered to a network card.
      attached(at(OLD), 1, 'mlx5_core'),
      // The device has no VM, and the buffer is never imported.
      exported({ t: at(OLD), inode: 2, privacy: 2, pid: 201 }),
      // Exported while memory decode was off.
      exported({ t: at(OLD), inode: 3, ...mine, born_revoked: true }),
      // Its exporter ends.
      exported({ t: at(OLD), inode: 4, pid: 202, privacy: 1 }),
      collectorLine('exit', { t: at(OLD - 1), pid: 202 }),
      // iommufd's mapping is revoked, and the revoking call waits.
      exported({ t: at(OLD), inode: 5, ...mine }),
      attached(at(OLD), 5, 'iommu'),
      attached(at(OLD), 5, 'iommu', 3),
      bufferState(at(30), 5, true),
      // A fault of a guest is rejected, a BAR is mapped by its address, and a file is released before its buffer.
      imported({
        t: at(OLD),
        inode: 1,
        stage: 'get_pfn',
        importer: 'kvm',
        errno: 5,
        reason: 'revoked',
        pid: 200,
      }),
      imported({
        t: at(OLD),
        inode: 0,
        stage: 'ioas_map',
        importer: 'iommu',
        errno: 14,
        reason: 'bar_by_address',
        pid: 203,
      }),
      eventLine('late_release', { t: at(OLD), inode: 6, device: DEVICE, done: false }),
    ],
    tick: (host, count) => [
      heartbeat(host.now, host.daemon.model.status().events_received),
      ...host.counters(everyCounter(count)),
    ],
  });
}

/** A mainline kernel whose tracer crashes, loses events, cannot read its counters, and simulates a fault. A module is reloaded repeatedly. */
export function troubledHost(): LiveHost {
  const at = (seconds: number) => NOW - seconds * S;
  const probes = {
    dialect: 'mainline',
    attached: ALL_PROBES.filter(
      (probe) => !['map', 'bind', 'unbind', 'private_read', 'fault', 'zap'].includes(probe),
    ),
  } as const;
  return new LiveHost({
    config: { 'metrics.max-series': 2 },
    simulation: 'loss=10%',
    past: () => [
      starting(at(600), 1, probes),
      ready(at(599)),
      deviceLine(at(598)),
      vmProcess(at(598)),
      ...[1, 2, 3, 4].map((inode) =>
        exported({
          t: at(500),
          inode,
          device: DEVICE + inode * 8,
          privacy: 0,
          pid: 200,
          kvm_pid: 200,
          vm_type: 5,
        }),
      ),
      imported({ t: at(499), inode: 1, device: DEVICE + 8, stage: 1, importer: 'mlx5_core' }),
      ...counterRead(at(400), { releases: 0 }),
    ],
    tick: (host, count) => {
      const t = host.now;
      const stages = ['queue', 'splitter', 'probe_missed', 'map_full', 'handover'] as const;
      const trouble = [
        ...stages.map((stage) => collectorLine('loss', { t, stage, count })),
        collectorLine('host_error', { t, source: 'device', count, message: 'EMFILE: config' }),
        '{"type": "value", "data": [3,"cut',
        'plain text of bpftrace',
        '{"type": "helper_error", "msg": "", "helper": "map_update_elem", "retcode": -7}',
        '{"type": "lost_events", "data": {"events": 3}}',
      ];
      // A crash at every fourth tick. Between them the child is up and has emitted more events than arrived, more at each heartbeat.
      if (count % 4 === 0) {
        const generation = 1 + count / 4;
        const message = {
          t,
          generation: generation - 1,
          state: 'exited',
          reason: 'crashed',
          message: 'ended',
        } as const;
        return [
          ...trouble,
          collectorLine('child', message),
          starting(t + 1000, generation, probes),
          ready(t + 200_000),
          heartbeat(t + 200_000, 1000 * count),
        ];
      }
      // Then a module is reloaded, and its probe is blind until the crash.
      const { data } = JSON.parse(starting(t, 1, probes));
      const again = { t, generation: 1, state: 'changed', probes: data.probes } as const;
      const blind = { blind: ['attach'], blind_since: t - 100_000 };
      return [
        ...trouble,
        ...(count % 4 === 1 ? [collectorLine('child', { ...again, ...blind })] : []),
        heartbeat(t, 1000 * count),
      ];
    },
  });
}
