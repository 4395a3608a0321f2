import type { DecodeFailure, StreamRecord } from '../stream/decode.ts';
import type { Child, Device, Dialect, ProbeState } from '../stream/wire.ts';
import { Accounting } from './accounting.ts';
import { type BufferState, bufferView } from './buffer-state.ts';
import { BufferTable } from './buffers.ts';
import { CounterBook } from './counters.ts';
import { type EventRecord, toTracerEvent } from './events.ts';
import { ProcessTable } from './processes.ts';
import type { BufferView, Status, TracerEvent } from './schema.ts';

export interface ModelOptions {
  /** Version of this program, for the status and build_info. */
  version: string;
  source: { kind: 'live' | 'replay'; name: string };
  /** Released buffers that are remembered; default 1000. */
  historyLimit?: number;
  /** Label sets a metric family may have before new ones are folded into `other`; default 500. */
  seriesLimit?: number;
}

/** Devices whose facts are remembered; a host has fewer. */
const DEVICE_LIMIT = 1024;

/** All that the server knows, as a pure function of the lines so far: no clock, no I/O. */
export class TracerModel {
  readonly options: Readonly<Required<ModelOptions>>;
  readonly accounting = new Accounting();
  readonly counters: CounterBook;
  /** Grows with each record: equal revisions mean equal answers. */
  revision = 0;

  readonly #processes = new ProcessTable();
  readonly #buffers: BufferTable;
  readonly #devices = new Map<string, Device>();
  readonly #probesEverAttached = new Set<string>();
  #seq = 0;
  #bootEpochUs = 0;
  #kernel: string | null = null;
  #bpftrace: string | null = null;
  #dialect: Dialect = 'none';
  #probes: readonly ProbeState[] = [];
  #problem: Status['problem'] = null;
  #started: { generation: number; t: number } | null = null;
  #snapshotBegin: number | null = null;

  constructor(options: ModelOptions) {
    const { kind, name } = options.source;
    this.options = { historyLimit: 1000, seriesLimit: 500, ...options, source: { kind, name } };
    this.counters = new CounterBook(this.options.seriesLimit);
    this.#buffers = new BufferTable(this.#processes, this.options.historyLimit);
  }

  /** Takes one record in and gives the events it tells of (none or one). */
  apply(record: StreamRecord | DecodeFailure): TracerEvent[] {
    this.revision += 1;
    const { accounting } = this;
    switch (record.type) {
      case 'header':
        this.#bootEpochUs = record.data.boot_epoch_us;
        this.#kernel = record.data.kernel;
        accounting.header(record.data.t);
        return [];
      case 'child':
        this.#child(record.data);
        return [];
      case 'tick':
        accounting.tick(record.data.t);
        return [];
      case 'loss':
        accounting.loss(record.data);
        return [];
      case 'device':
        this.#device(record.data);
        return [];
      case 'process':
        accounting.seen(record.data.t);
        this.#processes.identify(record.data);
        return [];
      case 'exit':
        accounting.seen(record.data.t);
        this.#processes.exit(record.data.pid);
        this.#buffers.processExited(record.data.pid);
        return [];
      case 'snapshot':
        accounting.seen(record.data.t_end);
        this.#buffers.reconcile(record.data);
        if (record.data.complete) this.#snapshotBegin = record.data.t_begin;
        return [];
      case 'ready':
        accounting.ready(record.data.t);
        this.#problem = null;
        return [];
      case 'heartbeat':
        accounting.heartbeat(record.data.t, record.data.emitted);
        return [];
      case 'counter': {
        accounting.counterLine();
        const growth = this.counters.read(record.data);
        if (record.data.name === 'missed' && growth > 0) accounting.returnsMissed();
        return [];
      }
      case 'read_end':
        accounting.readEnd(record.data.t, record.data.lines);
        return [];
      case 'helper_error':
        accounting.helperError(record.data.map_full);
        return [];
      case 'runtime_error':
        accounting.helperError(false);
        return [];
      case 'lost_events':
        accounting.lossReport();
        return [];
      case 'failure':
        accounting.decodeFailure(record.reason);
        return [];
      case 'unknown':
      case 'snapshot_buffer':
      case 'snapshot_end':
        accounting.unknownRecords += 1;
        return [];
      default:
        return [this.#event(record)];
    }
  }

  status(): Status {
    const { accounting } = this;
    const buffers = { live: 0, revoked: 0 };
    for (const buffer of this.#buffers.alive()) buffers[buffer.revoked ? 'revoked' : 'live'] += 1;
    const restarts = Object.values(accounting.restarts).reduce((sum, count) => sum + count, 0);
    const decodeErrors = Object.values(accounting.decodeErrors).reduce((sum, count) => sum + count, 0);
    return {
      version: this.options.version,
      source: { ...this.options.source },
      kernel: this.#kernel,
      bpftrace: this.#bpftrace,
      dialect: this.#dialect,
      state: accounting.state,
      problem: this.#problem === null ? null : { ...this.#problem },
      generation: accounting.generation,
      restarts,
      probes: this.#probes.map((probe) => ({ ...probe })),
      last_counter_read: accounting.lastReadAt === null ? null : this.#time(accounting.lastReadAt),
      blind_seconds: accounting.blindSeconds,
      events_received: accounting.eventsReceived,
      events_emitted: accounting.eventsEmitted,
      events_unaccounted: accounting.eventsUnaccounted,
      decode_errors: decodeErrors,
      losses: accounting.losses,
      picture_exact: this.pictureExact,
      buffers,
    };
  }

  /** True where a whole snapshot was taken after the last loss or gap, and all has been watched since. */
  get pictureExact(): boolean {
    const begin = this.#snapshotBegin;
    return this.accounting.state === 'tracing' && begin !== null && begin >= this.accounting.lastLossAt;
  }

  /** Seconds since 1970 at which the counters were last read; 0 before the first read. */
  get lastCounterReadSeconds(): number {
    const { lastReadAt } = this.accounting;
    return lastReadAt === null ? 0 : (this.#bootEpochUs + lastReadAt) / 1e6;
  }

  /** True where this probe was attached in any program of this stream: only then does a zero of its counters mean zero. */
  wasAttached(probe: string): boolean {
    return this.#probesEverAttached.has(probe);
  }

  /** Live and revoked buffers first, then the remembered released ones, newest last. */
  buffers(): BufferView[] {
    const view = (buffer: BufferState) => this.#view(buffer);
    return [...Array.from(this.#buffers.alive(), view), ...Array.from(this.#buffers.released(), view)];
  }

  buffer(inode: number): BufferView | undefined {
    const buffer = this.#buffers.get(inode);
    return buffer === undefined ? undefined : this.#view(buffer);
  }

  /** Live and revoked buffers as they are kept, for what only adds them up; not to be changed. */
  aliveStates(): IterableIterator<Readonly<BufferState>> {
    return this.#buffers.alive();
  }

  /** What the collector told of the devices, one for each PCI address. */
  devices(): Device[] {
    return [...this.#devices.values()];
  }

  #event(record: EventRecord): TracerEvent {
    const { t } = record.data;
    this.accounting.event(record.type, t);
    const known = 'inode' in record.data ? this.#buffers.get(record.data.inode) : undefined;
    const device = known?.device ?? 0;
    const lostMappings = this.#change(record);
    this.#seq += 1;
    return toTracerEvent(record, {
      seq: this.#seq,
      time: this.#time(t),
      processes: this.#processes,
      device,
      lostMappings,
    });
  }

  /** What an event changes in the picture of the buffers; gives the mappings it made dead. */
  #change(record: EventRecord): number {
    switch (record.type) {
      case 'export':
        this.#buffers.exported(record.data);
        return 0;
      case 'release':
        this.#buffers.release(record.data);
        return 0;
      case 'import':
        this.#buffers.imported(record.data);
        return 0;
      case 'detach':
        this.#buffers.detached(record.data);
        return 0;
      case 'buffer_state':
        return this.#buffers.stateChanged(record.data);
      case 'bind':
        this.#buffers.bound(record.data);
        return 0;
      case 'unbind':
        this.#buffers.unbound(record.data);
        return 0;
      case 'revoke_call':
      case 'private_read':
        return 0;
      default:
        return record satisfies never;
    }
  }

  #child(child: Child): void {
    const { accounting } = this;
    switch (child.state) {
      case 'starting': {
        this.#program(child.dialect, child.probes);
        this.#bpftrace = child.bpftrace;
        const { generation, t } = child;
        // A collector tells a new listener again of the child that runs.
        if (this.#started?.generation === generation && this.#started.t === t) return;
        this.#started = { generation, t };
        this.counters.newChild();
        accounting.childStarting(t);
        return;
      }
      case 'exited':
        this.#problem = child.reason === 'stopped' ? null : { ...problemOf(child), remedy: null };
        accounting.childExited(child.t, child.reason);
        return;
      case 'unavailable':
        this.#program(child.dialect, child.probes);
        this.#problem = { ...problemOf(child), remedy: child.remedy };
        accounting.childUnavailable(child.t, child.reason);
        return;
      default:
        child satisfies never;
    }
  }

  #program(dialect: Dialect, probes: readonly ProbeState[]): void {
    this.#dialect = dialect;
    this.#probes = probes;
    for (const { probe, attached } of probes) if (attached) this.#probesEverAttached.add(probe);
  }

  #device(device: Device): void {
    this.accounting.seen(device.t);
    this.#devices.delete(device.device);
    this.#devices.set(device.device, device);
    if (this.#devices.size > DEVICE_LIMIT) {
      const oldest = this.#devices.keys().next();
      if (!oldest.done) this.#devices.delete(oldest.value);
    }
  }

  #view(buffer: BufferState): BufferView {
    return bufferView(buffer, (micros) => this.#time(micros));
  }

  #time(micros: number): string {
    const date = new Date(Math.floor((this.#bootEpochUs + micros) / 1000));
    return Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString();
  }
}

function problemOf(child: Extract<Child, { reason: unknown }>): {
  reason: Extract<Child, { reason: unknown }>['reason'];
  message: string;
} {
  return { reason: child.reason, message: child.message };
}
