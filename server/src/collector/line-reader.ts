import { decodeLine } from '../protocol/decode.ts';
import { EVENT_TAGS, TAGS } from '../protocol/tuples.ts';
import type { IdentityWatch } from './identity-reporter.ts';
import type { LiveBuffers } from './live-buffers.ts';
import type { LossWatch } from './loss-counts.ts';

const VALUE = /^\{"type": ?"value", ?"data": ?\[(\d+)/;
/** Fields with the pid of a VM's process, which owns the VM. */
const VM_FIELDS = ['kvm_pid', 'vm_pid', 'owner_vm_pid'] as const;
/** The tag of a record that a program printed; null if the line is not a record. */
export function tagOf(line: string): number | null {
  const tag = VALUE.exec(line)?.[1];
  return tag === undefined ? null : Number(tag);
}

/** Whether the line is an event. The program counts each event in `@emitted`. */
export function isEvent(line: string): boolean {
  const tag = tagOf(line);
  return tag !== null && EVENT_TAGS.has(tag);
}

type Identities = Pick<IdentityWatch, 'seeDevice' | 'seeImporter' | 'seeProcess'>;
type Buffers = Pick<LiveBuffers, 'event'>;
type Losses = Pick<LossWatch, 'eventReceived' | 'heartbeat' | 'returnsMissed' | 'lossReported'>;

/**
 * Extracts from the lines of a child what the collector itself needs: the processes and devices that they name, and
 * losses.
 */
export class LineReader {
  readonly #identities: Identities;
  readonly #losses: Losses;
  readonly #buffers: Buffers;

  constructor(options: { identities: Identities; losses: Losses; buffers: Buffers }) {
    this.#identities = options.identities;
    this.#losses = options.losses;
    this.#buffers = options.buffers;
  }

  /** Looks up the processes and devices that an event names. At arrival, because they may end or be removed soon. */
  identify(line: string): void {
    if (!isEvent(line)) return;
    const record = decodeLine(line);
    if (record.type === 'failure' || !('data' in record)) return;
    this.#buffers.event(record);
    const fields = record.data as Readonly<Record<string, unknown>>;
    const t = Number(fields.t);
    if (typeof fields.device === 'number') this.#identities.seeDevice(fields.device);
    if (typeof fields.importer_device === 'string') this.#identities.seeImporter(fields.importer_device);
    for (const name of VM_FIELDS) {
      const pid = fields[name];
      if (typeof pid === 'number') this.#identities.seeProcess(pid, true, t);
    }
    if (typeof fields.pid === 'number') {
      // KVM accepts a bind only from the process of the VM.
      const owner = record.type === 'bind' || (record.type === 'export' && record.data.errno === 0);
      this.#identities.seeProcess(fields.pid, owner, t);
    }
  }

  /** Updates the loss counts of the running child. */
  account(line: string): void {
    if (isEvent(line)) this.#losses.eventReceived();
    const tag = tagOf(line);
    // A line without a tag is a message of bpftrace itself, which may report a loss.
    if (tag !== null && tag !== TAGS.heartbeat && tag !== TAGS.counter && !EVENT_TAGS.has(tag)) return;
    const record = decodeLine(line);
    if (record.type === 'heartbeat') this.#losses.heartbeat(record.data.emitted);
    else if (record.type === 'counter') {
      if (record.data.name === 'missed') this.#losses.returnsMissed(record.data.value);
    } else if (
      record.type === 'failure' ||
      record.type === 'lost_events' ||
      (record.type === 'helper_error' && record.data.map_full)
    ) {
      this.#losses.lossReported();
    }
  }
}
