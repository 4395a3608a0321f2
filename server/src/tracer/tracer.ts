import {
  type BlindTo,
  type BufferView,
  INCIDENT_KINDS,
  type Incident,
  type IncidentKind,
  type Status,
  type TracerEvent,
} from '../contract/schema.ts';
import { INCIDENT_LIMITS, type IncidentLimits, IncidentWatch } from '../incidents/engine.ts';
import { blindTo, bySeverity, KINDS } from '../incidents/kinds.ts';
import type { IncidentState } from '../incidents/store.ts';
import { incidentLabels, incidentView } from '../incidents/view.ts';
import { Accounting, PROBES_LIMIT } from '../model/accounting.ts';
import { type BufferFilter, type BufferState, bufferView, matches } from '../model/buffer-state.ts';
import type { BufferTotals } from '../model/buffer-totals.ts';
import { BufferTable } from '../model/buffers.ts';
import { CounterStore } from '../model/counters.ts';
import { DeviceTable } from '../model/devices.ts';
import { toTracerEvent } from '../model/events.ts';
import { History, type HistorySample } from '../model/history.ts';
import { deviceAddress, packedDevice } from '../model/naming.ts';
import { ProcessTable } from '../model/processes.ts';
import { type DeviceVm, VmTable } from '../model/vms.ts';
import { isCountLoss, type Violation } from '../protocol/codes.ts';
import type { DecodeFailure, StreamRecord } from '../protocol/decode.ts';
import { SnapshotParts } from '../protocol/snapshot-parts.ts';
import type { EventRecord } from '../protocol/tuples.ts';
import type { Child, Device, Dialect, Exit, ProbeState, Process } from '../protocol/wire.ts';

export interface ModelOptions {
  /** Version of this program, for the status and build_info. */
  version: string;
  source: { kind: 'live' | 'replay'; name: string };
  /** The most released buffers that are kept; default 1000. */
  historyLimit?: number;
  /** The most label sets of a metric family. Further ones are folded into `other`; default 2000. */
  seriesLimit?: number;
  /** Seconds, in stream time, for which a device or VM stays in the metrics after it has left; default 900. */
  keepDeparted?: number;
  /** When a condition becomes an incident, and how many incidents are kept. */
  incidents?: Partial<IncidentLimits>;
}

/** The state of the server. It is a pure function of the lines so far: no clock, no I/O. */
export class TracerModel {
  readonly options: Readonly<Required<ModelOptions>>;
  readonly accounting = new Accounting();
  readonly counters: CounterStore;
  /** Increases with each record. Equal revisions mean equal state. */
  revision = 0;

  readonly #processes = new ProcessTable();
  readonly #vms = new VmTable();
  readonly #buffers: BufferTable;
  readonly #devices = new DeviceTable();
  readonly #snapshotParts = new SnapshotParts();
  readonly #probesEverAttached = new Set<string>();
  readonly #dialectsEver = new Set<Dialect>();
  readonly #incidents: IncidentWatch;
  readonly #history = new History();
  #seq = 0;
  #bootEpochUs = 0;
  #headerEpochUs = 0;
  #kernel: string | null = null;
  #simulation: string | null = null;
  #bpftrace: string | null = null;
  #dialect: Dialect = 'none';
  #probes: readonly ProbeState[] = [];
  #problem: Status['problem'] = null;
  #started: { generation: number; t: number } | null = null;

  constructor(options: ModelOptions) {
    const { kind, name } = options.source;
    const incidents = { ...INCIDENT_LIMITS, ...options.incidents };
    this.options = {
      historyLimit: 1000,
      seriesLimit: 2000,
      keepDeparted: 900,
      ...options,
      incidents,
      source: { kind, name },
    };
    this.counters = new CounterStore(this.options.seriesLimit);
    this.#buffers = new BufferTable(this.#processes, this.#vms, this.options.historyLimit);
    this.#incidents = new IncidentWatch({
      buffers: this.#buffers,
      processes: this.#processes,
      accounting: this.accounting,
      limits: incidents,
      detects: (incident) => this.detectsIncident(incident),
    });
  }

  /** Applies one record. Returns its events: at most one kernel event, then incident events. */
  apply(record: StreamRecord | DecodeFailure): TracerEvent[] {
    this.revision += 1;
    const events = this.#applyRecord(record);
    for (const { change, incident } of this.#incidents.book.takeChanges()) {
      const at = change === 'opened' ? incident.openedAt : (incident.closedAt ?? 0);
      const view = this.#incidentView(incident);
      this.#seq += 1;
      events.push({
        seq: this.#seq,
        time: this.#time(at),
        boot_us: at,
        kind: 'incident',
        change,
        device: view.device,
        incident: view,
      });
    }
    return events;
  }

  #applyRecord(record: StreamRecord | DecodeFailure): TracerEvent[] {
    const { accounting } = this;
    switch (record.type) {
      case 'header':
        this.#bootEpochUs = record.data.boot_epoch_us;
        this.#headerEpochUs = record.data.boot_epoch_us;
        this.#kernel = record.data.kernel;
        this.#simulation = record.data.simulation ?? null;
        accounting.header(record.data.t);
        return [];
      case 'child':
        this.#child(record.data);
        return [];
      case 'tick':
        accounting.tick(record.data.t);
        this.#sweep();
        this.#incidents.advance(record.data.t);
        return [];
      case 'loss':
        accounting.loss(record.data);
        return [];
      case 'host_error':
        accounting.hostError(record.data);
        return [];
      case 'clock':
        accounting.seen(record.data.t);
        this.#bootEpochUs = record.data.boot_epoch_us;
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
        this.#incidents.snapshot(snapshot, this.#buffers.reconcile(snapshot));
        return [];
      }
      case 'ready':
        accounting.ready(record.data.t);
        this.#problem = null;
        return [];
      case 'heartbeat':
        accounting.heartbeat(record.data.t, record.data.emitted);
        this.#sweep();
        this.#incidents.advance(record.data.t);
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
    return { state, problem: this.#problem, dialect: this.#dialect, generation };
  }

  status(): Status {
    const { accounting } = this;
    const { live, revoked } = this.#buffers.totals;
    const restarts = Object.values(accounting.restarts).reduce((sum, count) => sum + count, 0);
    const decodeErrors = Object.values(accounting.decodeErrors).reduce((sum, count) => sum + count, 0);
    return {
      version: this.options.version,
      source: { ...this.options.source },
      simulation: this.#simulation,
      now: this.#time(accounting.now),
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
      counters_exact: this.countersExact,
      missed_returns: this.counters.totals.counters.missed_returns,
      buffer_state_exact: this.bufferStateExact,
      buffers: { live, revoked },
      open_incidents: Object.fromEntries(
        INCIDENT_KINDS.filter((kind) => this.detectsIncident(kind)).map((kind) => [
          kind,
          this.incidentCounts(kind).open,
        ]),
      ),
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
    return !lost && this.counters.totals.counters.missed_returns === 0;
  }

  /** True if tracing is active and a complete snapshot began after the last loss or gap. */
  get bufferStateExact(): boolean {
    const begin = this.#incidents.snapshotAt;
    return this.accounting.state === 'tracing' && begin !== null && begin >= this.accounting.lastLossAt;
  }

  /** Seconds since 1970 at which the counters were last read; 0 before the first read. */
  get lastCounterReadSeconds(): number {
    const { lastReadAt } = this.accounting;
    return lastReadAt === null ? 0 : (this.#bootEpochUs + lastReadAt) / 1e6;
  }

  /** The wall clock at t = 0 from the header, in microseconds since 1970. Later steps of the clock do not change it. */
  get headerEpochUs(): number {
    return this.#headerEpochUs;
  }

  /** Whether this probe was attached in any program of this stream. Only then is a zero in its counters a real zero. */
  wasAttached(probe: string): boolean {
    return this.#probesEverAttached.has(probe);
  }

  /** Live and revoked buffers first, then the released ones that are kept, newest last. */
  buffers(): BufferView[] {
    return this.findBuffers({}, Number.POSITIVE_INFINITY).buffers;
  }

  /** The number of matching buffers, and the first `limit` of them. */
  findBuffers(filter: BufferFilter, limit: number): { total: number; buffers: BufferView[] } {
    const buffers: BufferView[] = [];
    let total = 0;
    for (const some of [this.#buffers.alive(), this.#buffers.released()]) {
      for (const buffer of some) {
        if (!matches(buffer, filter)) continue;
        total += 1;
        if (total <= limit) buffers.push(this.#view(buffer));
      }
    }
    return { total, buffers };
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

  /** Whether a kernel traced since the start can have incidents of this kind. */
  canOccur(kind: IncidentKind): boolean {
    const { dialects } = KINDS[kind];
    return dialects === undefined || dialects.some((dialect) => this.#dialectsEver.has(dialect));
  }

  /** Whether incidents of this kind can occur, and all probes that detect them were attached since the start. */
  detectsIncident(kind: IncidentKind): boolean {
    return this.canOccur(kind) && KINDS[kind].probes.every((probe) => this.wasAttached(probe));
  }

  /** Security-relevant incident kinds that this kernel can have and that cannot be detected now. */
  blindTo(): BlindTo[] {
    const attached = this.#probes.filter((probe) => probe.attached);
    return blindTo(this.#dialect, new Set(attached.map(({ probe }) => probe)));
  }

  /**
   * Whether this policy violation is counted. Offers are counted only in a dialect in which an export declares its
   * privacy.
   */
  countsViolation(kind: Violation): boolean {
    if (kind === 'none' || (kind === 'private_offered' && !this.#dialectsEver.has('private-v1')))
      return false;
    return this.detectsIncident(kind);
  }

  /** Numbers of incidents: open now, ever opened, and not opened because of the limit. */
  incidentCounts(kind: IncidentKind): { open: number; opened: number; folded: number } {
    const { book } = this.#incidents;
    return { open: book.count(kind), opened: book.opened[kind], folded: book.folded[kind] };
  }

  /** The labels of the open incidents. */
  openIncidents(): Pick<Incident, 'device' | 'kind' | 'severity'>[] {
    return this.#incidents.book.open().map(incidentLabels);
  }

  /** Open incidents first, by severity and then newest first; then the closed ones that are kept, newest first. */
  incidents(): Incident[] {
    const { book } = this.#incidents;
    const open = book.open().reverse().sort(bySeverity);
    return [...open, ...book.past().toReversed()].map((one) => this.#incidentView(one));
  }

  /** Rates and durations of the last half hour, oldest first. */
  history(): HistorySample[] {
    return this.#history.samples((micros) => this.#time(micros));
  }

  /** The facts that the collector reported about devices, one entry per PCI address. */
  devices(): Device[] {
    return this.#devices.all();
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
    const lostMappings = this.#change(record);
    this.#incidents.event(record);
    this.#incidents.advance(t);
    this.#seq += 1;
    return toTracerEvent(record, {
      seq: this.#seq,
      time: this.#time(t),
      processes: this.#processes,
      interfaceOf: this.#interfaceOf,
      device,
      buffer: known,
      lostMappings,
    });
  }

  /** Applies an event to the buffers. Returns the number of mappings that were lost. */
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
      case 'unmap':
        this.#buffers.unmapped(record.data);
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
        // A collector reports the running child again to a new listener.
        if (this.#started?.generation === generation && this.#started.t === t) return;
        this.#started = { generation, t };
        this.counters.newChild();
        accounting.childStarting(t);
        return;
      }
      case 'changed':
        this.#program(this.#dialect, child.probes);
        accounting.probesChanged(child.t, child.blind, child.blind_since);
        return;
      case 'exited':
        this.#problem =
          child.reason === 'stopped' || child.reason === 'handed_over'
            ? null
            : { ...problemOf(child), remedy: child.remedy ?? null };
        accounting.childExited(child.t, child.reason, child.blind_since);
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
    this.#dialectsEver.add(dialect);
    this.#incidents.dialect = dialect;
    this.#probes = probes;
    for (const { probe, attached } of probes) {
      if (attached && this.#probesEverAttached.size < PROBES_LIMIT) this.#probesEverAttached.add(probe);
    }
    this.#buffers.tracesUnmaps = this.wasAttached('unmap');
  }

  #process(process: Process): void {
    this.accounting.seen(process.t);
    const takeover = this.#processes.identify(process);
    if (takeover === null) return;
    this.#buffers.takenOver(takeover);
    this.#incidents.processExited(takeover.from);
  }

  #exit(exit: Exit): void {
    this.accounting.seen(exit.t);
    const process = this.#processes.exit(exit);
    if (process === null) return;
    this.#buffers.processExited(process);
    this.#incidents.processExited(process);
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
    return bufferView(buffer, { time: (micros) => this.#time(micros), interfaceOf: this.#interfaceOf });
  }

  #incidentView(incident: IncidentState): Incident {
    return incidentView(incident, {
      time: (micros) => this.#time(micros),
      isExact: (one) => this.#incidents.isExact(one),
      waitedFor: (device) => this.#incidents.waitedFor(device),
      tracesUnmaps: this.wasAttached('unmap'),
    });
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
