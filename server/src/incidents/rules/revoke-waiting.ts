import type { Closing } from '../../contract/incidents.ts';
import { FifoMap } from '../../lib/fifo-map.ts';
import type { BufferState } from '../../model/buffer-state.ts';
import type { EventRecord, TupleOf } from '../../protocol/tuples.ts';
import type { Snapshot } from '../../protocol/wire.ts';
import { importerText, moreText } from '../names.ts';
import { type Importer, type Named, NONE, named, type Participants } from '../participants.ts';
import { type RevokeCall, RevokeCalls } from '../revoke-calls.ts';
import type { Detector, IncidentRule, Names, RuleContext } from '../rule.ts';
import type { IncidentState } from '../store.ts';

/** Duration of a revocation above which an incident opens. */
const WAIT_US = 1_000_000;

/** The most closed incidents that are kept for a late end of their call. */
const CLOSED_WITHOUT_END_LIMIT = 256;

/** The task of the call, and the cause of the revocation. */
type Call = Pick<RevokeCall, 'pid' | 'comm' | 'cause'>;

export const revokeWaiting: IncidentRule<Call> = {
  probes: ['revoke'],
  confirmedBySnapshot: false,
  runbook: 'VfioDmabufRevokeWaiting',
  opens: '1 s after the revocation began, or at its end if no heartbeat came before',
  closes: 'the call ends; the incident has the duration',
  remedy:
    'Stop the workload or the driver of the importers that it names: they still have mappings, ' +
    'and a reset of the device waits for them.',

  severity: () => 'warning',
  problem({ details: { comm, pid, cause } }, names) {
    const call = `by ${comm} (pid ${pid}, cause ${cause})`;
    return `The revocation of the memory of ${names.device} ${call} waits for ${waitedForText(names)}`;
  },

  detector: (context) => new WaitDetector(context),
};

class WaitDetector implements Detector {
  readonly #context: RuleContext<Call>;
  readonly #calls = new RevokeCalls();
  /** The last incident of each device that was closed without the end of its call. That event may only be late. */
  readonly #closedWithoutEnd = new FifoMap<number, IncidentState>();

  constructor(context: RuleContext<Call>) {
    this.#context = context;
  }

  event({ type, data }: EventRecord): void {
    switch (type) {
      case 'buffer_state':
        this.#stateChanged(data);
        break;
      case 'import':
        if (data.stage !== 'attach' && data.errno === 0) this.#mapped(data);
        break;
      case 'revoke_call':
        this.#ended(data);
        break;
      default:
    }
  }

  settle(buffer: BufferState, t: number, by: Closing): void {
    if (!buffer.released) return;
    const call = this.#calls.of(buffer.device);
    if (call?.buffers.has(buffer.inode) && this.#isOver(call)) this.#drop(call, t, by);
  }

  completed({ t_begin, t_end }: Snapshot): void {
    const { lastLossAt } = this.#context.accounting;
    for (const call of this.#calls.running()) {
      if (t_begin <= call.began) continue;
      const isLost = lastLossAt >= call.began && t_begin >= lastLossAt;
      if (this.#isOver(call) || (isLost && !this.#hasWaiters(call))) this.#drop(call, t_end, 'snapshot');
    }
  }

  advance(t: number): void {
    for (const call of this.#calls.due(t - WAIT_US)) {
      if (this.#find(call.device) !== undefined) continue;
      const incident = this.#open(call);
      if (incident !== null) incident.importers = this.#waitedFor(call);
    }
  }

  /** While the incident is open: the importers that still have mappings. */
  current({ device, closedAt, holders }: IncidentState): Participants | null {
    if (closedAt !== null) return null;
    const call = this.#calls.of(device);
    return { importers: call === undefined ? NONE : this.#waitedFor(call), holders };
  }

  #stateChanged(data: TupleOf<'buffer_state'>['data']): void {
    const before = this.#calls.buffer(data);
    if (before !== null) this.#closeWithoutEnd(before, data.t, 'next_call');
    this.#nameWaiters(data.device, data.inode);
  }

  /** A revocation also waits for a mapping whose event arrives late. */
  #mapped({ device, inode }: TupleOf<'import'>['data']): void {
    this.#nameWaiters(device || (this.#context.buffers.get(inode)?.device ?? 0), inode);
  }

  #ended(data: TupleOf<'revoke_call'>['data']): void {
    const ended = this.#calls.end(data);
    if (ended !== null && !ended.seen) this.#closeWithoutEnd(ended.call, data.t, 'next_call');
    if (!data.revoked) return;
    const { t, device } = data;
    const waitedUs = Math.round(data.ns / 1000);
    const open = this.#find(device);
    const late = this.#closedWithoutEnd.get(device);
    if (open === undefined && late !== undefined && late.since >= t - waitedUs && late.since <= t) {
      // The incident was closed because the end of its call seemed lost. It was only late: correct the incident.
      Object.assign(late, { closedAt: t, closedBy: 'revoke_ended', waitedUs, exact: true });
      this.#closedWithoutEnd.delete(device);
      return;
    }
    if (open === undefined && waitedUs < WAIT_US) return;
    const began = ended?.seen ? ended.call.began : t - waitedUs;
    const incident = open ?? this.#open(ended?.call ?? { ...data, began });
    if (incident === null) return;
    incident.waitedUs = waitedUs;
    this.#context.close(incident, t, 'revoke_ended', true);
  }

  #find(device: number): IncidentState<Call> | undefined {
    return this.#context.find(String(device));
  }

  #open(call: Pick<RevokeCall, 'device' | 'began'> & Call): IncidentState<Call> | null {
    const { device, began: since, pid, comm, cause } = call;
    const openedAt = since + WAIT_US;
    return this.#context.open({
      subject: String(device),
      since,
      openedAt,
      device,
      details: { pid, comm, cause },
    });
  }

  #drop(call: RevokeCall, t: number, by: Closing): void {
    this.#calls.drop(call);
    this.#closeWithoutEnd(call, t, by);
  }

  #closeWithoutEnd({ device }: RevokeCall, t: number, by: Closing): void {
    const incident = this.#find(device);
    if (incident === undefined) return;
    this.#context.close(incident, t, by, false);
    this.#closedWithoutEnd.set(device, incident);
    this.#closedWithoutEnd.limit(CLOSED_WITHOUT_END_LIMIT);
  }

  /**
   * Adds the waiters of a buffer to those that the incident names. When the wait is over, their mappings no longer
   * exist.
   */
  #nameWaiters(device: number, inode: number): void {
    const incident = this.#find(device);
    const buffer = this.#context.buffers.get(inode);
    if (incident === undefined || buffer === undefined) return;
    if (this.#calls.of(device)?.buffers.has(inode) !== true) return;
    incident.importers = joined(incident.importers, named(waitersOf(buffer), buffer.importers.waiters));
  }

  /** Importers that still have mappings of the buffers that a running call revokes. */
  #waitedFor(call: RevokeCall): Named<Importer> {
    let all = 0;
    for (const inode of call.buffers) all += this.#context.buffers.get(inode)?.importers.waiters ?? 0;
    return named(this.#waiters(call), all);
  }

  *#waiters({ buffers }: RevokeCall): Generator<Importer> {
    for (const inode of buffers) {
      const buffer = this.#context.buffers.get(inode);
      if (buffer !== undefined) yield* waitersOf(buffer);
    }
  }

  #hasWaiters(call: RevokeCall): boolean {
    return this.#waiters(call).next().done !== true;
  }

  /** Whether the call cannot be waiting: all its buffers are released, restored, or have no attachments. */
  #isOver({ unsettled }: RevokeCall): boolean {
    for (let left = unsettled.size; left > 0; left -= 1) {
      const inode = unsettled.oldest() ?? 0;
      const buffer = this.#context.buffers.get(inode);
      if (buffer === undefined || buffer.released) unsettled.delete(inode);
      else if (buffer.revoked && buffer.attachments.count > 0) return false;
      // It may be revoked or attached again, so keep it and check it after the others.
      else unsettled.set(inode, true);
    }
    return true;
  }
}

function waitedForText({ importers: { shown, more }, tracesUnmaps }: Names): string {
  if (shown.length > 0) {
    const each = shown.map((one) => `${importerText(one)} to unmap buffer ${one.inode}`);
    return [...each, ...moreText(more)].join(', ');
  }
  return tracesUnmaps
    ? 'unknown importers'
    : 'importers, which are unknown because unmaps are not traced here';
}

function* waitersOf({ inode, importers }: BufferState): Generator<Importer> {
  for (const { importer, importerDevice } of importers.waitedFor())
    yield { importer, importer_device: importerDevice, inode };
}

/** Both, each importer once. */
function joined(known: Named<Importer>, fresh: Named<Importer>): Named<Importer> {
  const keys = new Set(known.shown.map(keyOf));
  const all = named([...known.shown, ...fresh.shown.filter((importer) => !keys.has(keyOf(importer)))]);
  return { shown: all.shown, more: Math.max(known.more, fresh.more) + all.more };
}

function keyOf({ importer, importer_device, inode }: Importer): string {
  return `${inode}\n${importer}\n${importer_device}`;
}
