import { TAGS } from '../../stream/codes.ts';
import { decodeLine } from '../../stream/decode.ts';
import type { IdentityWatch } from '../host/identity-watch.ts';
import type { LossWatch } from './loss-watch.ts';

const VALUE = /^\{"type": ?"value", ?"data": ?\[(\d+)/;
/** Fields that name a process; those of a VM name one that owns something. */
const VM_FIELDS = ['kvm_pid', 'vm_pid', 'owner_vm_pid'] as const;

/** Reads from the lines of a child the little that the collector itself has to know: who is named, and how many came. */
export class LineReader {
  private readonly identities: Pick<IdentityWatch, 'seeDevice' | 'seeProcess'>;
  private readonly losses: Pick<LossWatch, 'eventReceived' | 'heartbeat' | 'returnsMissed'>;

  constructor(options: {
    identities: Pick<IdentityWatch, 'seeDevice' | 'seeProcess'>;
    losses: Pick<LossWatch, 'eventReceived' | 'heartbeat' | 'returnsMissed'>;
  }) {
    this.identities = options.identities;
    this.losses = options.losses;
  }

  read(line: string): void {
    const tag = Number(VALUE.exec(line)?.[1] ?? TAGS.ready);
    if (tag !== TAGS.counter && (tag < TAGS.heartbeat || tag > TAGS.unbind)) return;
    if (tag >= TAGS.export && tag <= TAGS.unbind) this.losses.eventReceived();
    const record = decodeLine(line);
    if (record.type === 'counter') {
      if (record.data.name === 'missed') this.losses.returnsMissed(record.data.value);
      return;
    }
    if (record.type === 'heartbeat') {
      this.losses.heartbeat(record.data.emitted);
      return;
    }
    if (record.type === 'failure' || !('data' in record)) return;
    const fields = record.data as Readonly<Record<string, unknown>>;
    if (typeof fields.device === 'number') this.identities.seeDevice(fields.device);
    for (const name of VM_FIELDS) {
      const pid = fields[name];
      if (typeof pid === 'number') this.identities.seeProcess(pid, true);
    }
    if (typeof fields.pid === 'number') {
      this.identities.seeProcess(fields.pid, record.type === 'export' && record.data.errno === 0);
    }
  }
}
