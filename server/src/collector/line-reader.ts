import { type DecodeFailure, isEvent, mayBeEvent, type StreamRecord } from '../protocol/decode.ts';
import type { EventRecord } from '../protocol/tuples.ts';
import type { IdentityReporter } from './identity-reporter.ts';
import type { LiveBuffers } from './live-buffers.ts';
import type { LossCounts } from './loss-counts.ts';

/** Fields with the pid of a VM's process, which owns the VM. */
const VM_FIELDS = ['kvm_pid', 'vm_pid', 'owner_vm_pid'] as const;

type Identities = Pick<IdentityReporter, 'seeDevice' | 'seeImporter' | 'seeProcess'>;
type Buffers = Pick<LiveBuffers, 'event'>;
type Losses = Pick<LossCounts, 'eventReceived' | 'heartbeat' | 'returnsMissed' | 'lossReported'>;

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
  identify(record: StreamRecord | DecodeFailure): void {
    if (!isEvent(record)) return;
    this.#buffers.event(record);
    const { t, pid } = record.data;
    const fields: Readonly<Record<string, unknown>> = record.data;
    if (typeof fields.device === 'number') this.#identities.seeDevice(fields.device);
    if (typeof fields.importer_device === 'string') this.#identities.seeImporter(fields.importer_device);
    for (const name of VM_FIELDS) {
      const vmPid = fields[name];
      if (typeof vmPid === 'number') this.#identities.seeProcess(vmPid, true, t);
    }
    this.#identities.seeProcess(pid, ownsState(record), t);
  }

  /** Updates the loss counts of the running child. */
  account(record: StreamRecord | DecodeFailure): void {
    switch (record.type) {
      case 'heartbeat':
        this.#losses.heartbeat(record.data.emitted);
        return;
      case 'counter':
        if (record.data.name === 'missed') this.#losses.returnsMissed(record.data.value);
        return;
      case 'failure':
        if (mayBeEvent(record.reason)) this.#losses.eventReceived();
        this.#losses.lossReported();
        return;
      case 'lost_events':
        this.#losses.lossReported();
        return;
      case 'helper_error':
        if (record.data.map_full) this.#losses.lossReported();
        return;
      default:
        if (isEvent(record)) this.#losses.eventReceived();
    }
  }
}

/** Whether the end of the process of this event must be reported: it owns buffers or a VM, or an incident is about it. */
function ownsState({ type, data }: EventRecord): boolean {
  switch (type) {
    case 'bind':
      // KVM accepts a bind only from the process of the VM.
      return true;
    case 'export':
      return data.errno === 0;
    case 'import':
      // KVM resolves the faults of a vCPU for the process of the VM.
      return data.reason === 'bar_by_address' || data.stage === 'get_pfn';
    default:
      return false;
  }
}
