import type { BufferView } from '../contract/buffers.ts';
import type { TracerEvent } from '../contract/events.ts';
import type { HistorySample } from '../contract/history.ts';
import type { Status } from '../contract/status.ts';
import type { IdleDevice } from '../contract/topology.ts';
import { IncidentEngine } from '../incidents/engine.ts';
import { IncidentReports } from '../incidents/reports.ts';
import { Accounting } from '../model/accounting.ts';
import type { BufferState } from '../model/buffer-state.ts';
import type { BufferTotals } from '../model/buffer-totals.ts';
import { type BufferFilter, bufferView, matches } from '../model/buffer-view.ts';
import { BufferTable } from '../model/buffers.ts';
import { Collection } from '../model/collection.ts';
import { CounterStore } from '../model/counters.ts';
import { DeviceTable } from '../model/devices.ts';
import { toTracerEvent } from '../model/events.ts';
import { History } from '../model/history.ts';
import { idleDevices } from '../model/idle-devices.ts';
import { deviceAddress, packedDevice } from '../model/naming.ts';
import { ProcessTable } from '../model/processes.ts';
import { type DeviceVm, VmTable } from '../model/vms.ts';
import { WallTime } from '../model/wall-time.ts';
import { isCountLoss } from '../protocol/codes.ts';
import type { DecodeFailure, StreamRecord } from '../protocol/decode.ts';
import { SnapshotParts } from '../protocol/snapshot-parts.ts';
import type { EventRecord } from '../protocol/tuples.ts';
import type { Child, Device, Exit, Process, Recording } from '../protocol/wire.ts';
import { type CompleteOptions, type ModelOptions, withDefaults } from './options.ts';

/** The state of the server. It is a pure function of the lines so far: no clock, no I/O. */
export class TracerModel {
  readonly options: CompleteOptions;
  readonly accounting = new Accounting();
  readonly counters: CounterStore;
  readonly incidents: IncidentReports;
  /** Increases with each record. Equal revisions mean equal state. */
  revision = 0;
  /** State of the recording that the collector writes; null if it writes none. */
  recording: Recording | null = null;

  readonly #processes = new ProcessTable();
  readonly #vms = new VmTable();
  readonly #buffers: BufferTable;
  readonly #devices = new DeviceTable();
  readonly #snapshotParts = new SnapshotParts();
  readonly #collection = new Collection();
  readonly #wallTime = new WallTime();
  readonly #engine: IncidentEngine;
  readonly #history = new History();
  #seq = 0;

  constructor(options: ModelOptions) {
    this.options = withDefaults(options);
    this.counters = new CounterStore(this.options.seriesLimit);
    this.#buffers = new BufferTable(this.#processes, this.#vms, this.options.historyLimit);
    this.#engine = new IncidentEngine({
      buffers: this.#buffers,
      processes: this.#processes,
      accounting: this.accounting,
      limits: this.options.incidents,
      dialect: () => this.#collection.dialect,
      detects: (incident) => this.incidents.isDetected(incident),
    });
    this.incidents = new IncidentReports({
      engine: this.#engine,
      collection: this.#collection,
      time: this.#wallTime.iso,
    });
  }

  /** Applies one record. Returns its events: at most one kernel event, then incident events. */
  apply(record: StreamRecord | DecodeFailure): TracerEvent[] {
    this.revision += 1;
    const events = this.#applyRecord(record);
    for (const { at, change, incident } of this.incidents.takeChanges()) {
      this.#seq += 1;
      events.push({
        seq: this.#seq,
        time: this.#wallTime.iso(at),
        boot_us: at,
        kind: 'incident',
        change,
        device: incident.device,
        incident,
      });
    }
    return events;
  }

  #applyRecord(record: StreamRecord | DecodeFailure): TracerEvent[] {
    const { accounting } = this;
    switch (record.type) {
      case 'header':
        this.#wallTime.header(record.data.boot_epoch_us);
        this.#collection.header(record.data);
        accounting.header(record.data.t);
        return [];
      case 'joined':
        accounting.joined(record.data);
        return [];
      case 'child':
        this.#child(record.data);
        return [];
      case 'tick':
        accounting.tick(record.data.t);
        this.#sweep();
        this.#engine.advance(record.data.t);
        return [];
      case 'loss':
        accounting.loss(record.data);
        return [];
      case 'host_error':
        accounting.hostError(record.data);
        return [];
      case 'clock':
        accounting.seen(record.data.t);
        this.#wallTime.stepped(record.data.boot_epoch_us);
        return [];
      case 'recording':
        this.recording = record.data;
        return [];
      case 'device':
        accounting.seen(record.data.t);
        this.#devices.upsert(record.data);
        return [];
      case 'device_gone':
        accounting.seen(record.data.t);
        this.#devices.gone(record.data);
        return [];
      case 'process':
        this.#process(record.data);
        return [];
      case 'exit':
        this.#exit(record.data);
        return [];
      case 'snapshot_part':
        this.#snapshotParts.add(record.data);
        return [];
      case 'snapshot': {
        const snapshot = this.#snapshotParts.join(record.data);
        accounting.seen(snapshot.t_end);
        this.#engine.snapshot(snapshot, this.#buffers.reconcile(snapshot));
        return [];
      }
      case 'ready':
        accounting.ready(record.data.t);
        this.#collection.ready();
        return [];
      case 'heartbeat':
        accounting.heartbeat(record.data.t, record.data.emitted);
        this.#sweep();
        this.#engine.advance(record.data.t);
        return [];
      case 'counter': {
        accounting.counterLine();
        const growth = this.counters.read(record.data);
        if (growth === null) accounting.decodeFailure('bad_map');
        else if (record.data.name === 'missed' && growth > 0) accounting.returnsMissed();
        return [];
      }
      case 'read_end':
        if (accounting.readEnd(record.data.t, record.data.lines))
          this.#history.read(record.data.t, this.counters.totals);
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
      case 'gate':
      case 'in_flight':
        accounting.unknownRecords += 1;
        return [];
      default:
        return [this.#event(record)];
    }
  }

  /** State of the collection: the part of the status that is read for each line. */
  get collection(): Pick<Status, 'state' | 'problem' | 'dialect' | 'generation'> {
    const { state, generation } = this.accounting;
    const { problem, dialect } = this.#collection;
    return { state, problem, dialect, generation };
  }

  status(): Status {
    const { accounting } = this;
    const { simulation, kernel, bpftrace, dialect, problem, probes } = this.#collection;
    const { live, revoked } = this.#buffers.totals;
    return {
      version: this.options.version,
      source: { ...this.options.source },
      simulation,
      now: this.#wallTime.iso(accounting.now),
      kernel,
      bpftrace,
      dialect,
      state: accounting.state,
      problem: problem === null ? null : { ...problem },
      generation: accounting.generation,
      restarts: sum(accounting.restarts),
      probes: probes.map((probe) => ({ ...probe })),
      last_counter_read: accounting.lastReadAt === null ? null : this.#wallTime.iso(accounting.lastReadAt),
      blind_seconds: accounting.blindSeconds,
      events_received: accounting.eventsReceived,
      events_emitted: accounting.eventsEmitted,
      events_unaccounted: accounting.eventsUnaccounted,
      decode_errors: sum(accounting.decodeErrors),
      losses: accounting.losses,
      counters_exact: this.countersExact,
      missed_returns: this.counters.totals.counters.missed_returns,
      buffer_state_exact: this.bufferStateExact,
      buffers: { live, revoked },
      open_incidents: this.incidents.openByKind(),
    };
  }

  /** Number of facts that were evicted while they were in use. */
  get evicted(): Record<'device' | 'process' | 'vm', number> {
    return {
      device: this.#devices.evicted,
      process: this.#processes.evicted,
      vm: this.#vms.evicted,
    };
  }

  /** False if calls were not counted, so that each counter is a lower bound. */
  get countersExact(): boolean {
    const lost = Object.entries(this.accounting.losses).some(
      ([stage, calls]) => calls > 0 && isCountLoss(stage),
    );
    return !lost && !this.accounting.countGap.hasMissed && this.counters.totals.counters.missed_returns === 0;
  }

  /** True if tracing is active and a complete snapshot began after the last loss or gap. */
  get bufferStateExact(): boolean {
    const begin = this.#engine.snapshotAt;
    return this.accounting.state === 'tracing' && begin !== null && begin >= this.accounting.lastLossAt;
  }

  /** Seconds since 1970 at which the counters were last read; 0 before the first read. */
  get lastCounterReadSeconds(): number {
    const { lastReadAt } = this.accounting;
    return lastReadAt === null ? 0 : this.#wallTime.seconds(lastReadAt);
  }

  /** The wall clock at t = 0 from the header, in microseconds since 1970. Later steps of the clock do not change it. */
  get headerEpochUs(): number {
    return this.#wallTime.headerEpochUs;
  }

  /** Whether this probe was attached in any program of this stream. Only then is a zero in its counters a real zero. */
  wasAttached(probe: string): boolean {
    return this.#collection.wasAttached(probe);
  }

  /** Live and revoked buffers first, then the released ones that are kept, newest last. */
  buffers(): BufferView[] {
    return this.findBuffers({}, Number.POSITIVE_INFINITY).buffers;
  }

  /** The number of matching buffers, and the first `limit` of them. */
  findBuffers(filter: BufferFilter, limit: number): { total: number; buffers: BufferView[] } {
    const { total, buffers } = this.#buffers.find((buffer) => matches(buffer, filter), limit);
    return { total, buffers: buffers.map((buffer) => this.#view(buffer)) };
  }

  buffer(inode: number): BufferView | undefined {
    const buffer = this.#buffers.get(inode);
    return buffer === undefined ? undefined : this.#view(buffer);
  }

  /** Totals over the live and revoked buffers. Reading them does not depend on the number of buffers. */
  get bufferTotals(): Pick<BufferTotals, 'groups' | 'lostMappings' | 'attachments'> {
    return this.#buffers.totals;
  }

  /** The internal states of live and revoked buffers. Do not change them. */
  aliveStates(): IterableIterator<Readonly<BufferState>> {
    return this.#buffers.alive();
  }

  /** Rates and durations of the last half hour, oldest first. */
  history(): HistorySample[] {
    return this.#history.samples(this.#wallTime.iso);
  }

  /** The facts that the collector reported about devices, one entry per PCI address. */
  devices(): Device[] {
    return this.#devices.all();
  }

  /** Devices that a process had open at the last snapshot, and that have no buffer. */
  idleDevices(): IdleDevice[] {
    const { deviceHolders, totals } = this.#buffers;
    if (deviceHolders === null) return [];
    return idleDevices(deviceHolders, (device) => totals.hasBuffers(device), this.#wallTime.iso);
  }

  /** The VM of each device. Devices without a VM are left out. */
  vms(): Iterable<DeviceVm> {
    return this.#vms.all();
  }

  #event(record: EventRecord): TracerEvent {
    const { t } = record.data;
    this.accounting.event(record.type, t);
    const known = 'inode' in record.data ? this.#buffers.get(record.data.inode) : undefined;
    const device = known?.device ?? 0;
    if (this.#devices.anyGone && 'device' in record.data)
      this.#devices.seen(deviceAddress(record.data.device));
    const lostMappings = this.#buffers.apply(record);
    this.#engine.event(record);
    this.#engine.advance(t);
    this.#seq += 1;
    return toTracerEvent(record, {
      seq: this.#seq,
      time: this.#wallTime.iso(t),
      processes: this.#processes,
      interfaceOf: this.#interfaceOf,
      device,
      buffer: known,
      lostMappings,
    });
  }

  #child(child: Child): void {
    const { accounting } = this;
    const hasStarted = this.#collection.child(child);
    this.#buffers.tracesUnmaps = this.wasAttached('unmap');
    switch (child.state) {
      case 'starting':
        if (!hasStarted) return;
        this.counters.newChild();
        accounting.childStarting(child.t);
        return;
      case 'changed':
        accounting.probesChanged(child.t, child.blind, child.blind_since);
        return;
      case 'exited':
        accounting.childExited(child.t, child.reason, child.blind_since);
        return;
      case 'unavailable':
        accounting.childUnavailable(child.t, child.reason);
        return;
      default:
        child satisfies never;
    }
  }

  #process(process: Process): void {
    this.accounting.seen(process.t);
    const takeover = this.#processes.identify(process);
    if (takeover === null) return;
    this.#buffers.takenOver(takeover);
    this.#engine.processExited(takeover.from);
  }

  #exit(exit: Exit): void {
    this.accounting.seen(exit.t);
    const process = this.#processes.exit(exit);
    if (process === null) return;
    this.#buffers.processExited(process);
    this.#engine.processExited(process);
  }

  /** Removes devices and VMs that left more than `keepDeparted` ago, in stream time. */
  #sweep(): void {
    const graceUs = this.options.keepDeparted * 1e6;
    const { now } = this.accounting;
    const departed = this.#devices.sweep(now, graceUs);
    if (departed.size > 0) {
      this.counters.park(departed);
      for (const device of departed) this.#vms.drop(packedDevice(device));
    }
    this.#vms.sweep(now, graceUs, (device) => this.#buffers.totals.hasBuffers(device));
  }

  readonly #interfaceOf = (device: string): string | null =>
    this.#devices.get(device)?.interfaces?.[0] ?? null;

  #view(buffer: BufferState): BufferView {
    return bufferView(buffer, { time: this.#wallTime.iso, interfaceOf: this.#interfaceOf });
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
