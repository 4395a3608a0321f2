import type { Reason } from '../../protocol/codes.ts';
import type { EventRecord, TupleOf } from '../../protocol/tuples.ts';
import { bufferName, repetition, vmText } from '../names.ts';
import { closeIfOver, type IncidentRule, PRIVATE_DIALECTS, type RuleContext } from '../rule.ts';
import type { IncidentState } from '../store.ts';

type Fault = TupleOf<'import'>['data'];

/** The last rejected fault. */
interface Last {
  reason: Reason;
  t: number;
}

/** What can end an incident. */
interface Ending {
  by: 'unbound' | 'fault_resolved';
  inode: number;
  pid: number;
  t: number;
}

/** The most recent endings that are kept for a rejection that arrives late. */
const RECENT_LIMIT = 64;

const WHY: Partial<Record<Reason, string>> = {
  revoked: 'its memory is revoked',
  beyond_buffer: 'the page is beyond the buffer',
  get_pfn_unsupported: 'its exporter cannot resolve faults',
  no_attachment: 'the slot has no buffer',
};

export const faultRejected: IncidentRule<Last> = {
  probes: ['fault'],
  dialects: PRIVATE_DIALECTS,
  confirmedBySnapshot: false,
  runbook: 'VfioDmabufFaultRejected',
  opens:
    'KVM could not resolve a fault of a guest on a bound buffer (`kvm_vfio_dmabuf_get_pfn`): the vCPU stops',
  closes:
    'KVM unbinds the buffer, that VM ends, the buffer is released, or KVM resolves a fault on it again. Two exceptions: ' +
    'after `beyond_buffer` a resolved fault closes nothing, because it is about another page; ' +
    'after `no_attachment` and `get_pfn_unsupported` only the end of the VM closes it',
  remedy:
    'A vCPU of that VM has stopped. If the memory is revoked, the VMM has to restore it (memory decode, power state) and run the ' +
    'vCPU again. Otherwise stop the VM: the reason says whether the kernel or the VMM has the defect.',

  severity: () => 'critical',
  problem(incident, { device, vm }) {
    const { inode, count, details } = incident;
    const where = inode === null ? 'a memory slot' : bufferName(incident, { device, vm: null });
    const why = WHY[details.reason] ?? 'its exporter rejected it';
    return `A vCPU of ${vmText(vm)} stops: KVM could not resolve its fault on ${where}, because ${why}${repetition(count)}`;
  },
  closing(incident, record) {
    const ending = endingOf(record);
    return ending !== null && ends(ending, incident) ? ending.by : null;
  },
  detector(context) {
    const endings: Ending[] = [];
    return {
      event(record) {
        const ending = endingOf(record);
        if (ending !== null) {
          endings.push(ending);
          if (endings.length > RECENT_LIMIT) endings.shift();
        }
        if (record.type === 'import' && record.data.stage === 'get_pfn' && record.data.errno !== 0)
          rejected(record.data, context, endings);
      },
    };
  },
};

function rejected(
  { t, inode, pid, device, reason }: Fault,
  context: RuleContext<Last>,
  endings: readonly Ending[],
): void {
  const subject = `${inode}\n${pid}`;
  const known = context.find(subject);
  if (known !== undefined) {
    known.count += 1;
    if (t > known.details.t) Object.assign(known.details, { t, reason });
  }
  const buffer = context.buffers.get(inode) ?? null;
  // Only the process of a VM runs its vCPUs (kvm->mm).
  const vm = context.processes.at(pid, t);
  const incident =
    known ??
    context.open({
      subject,
      since: t,
      openedAt: t,
      device: device || (buffer?.device ?? 0),
      inode: inode === 0 ? null : inode,
      buffer,
      vm,
      details: { t, reason },
    });
  if (incident === null) return;
  closeIfOver(
    context,
    incident,
    vm,
    endings.find((one) => ends(one, incident)),
  );
}

function endingOf(record: EventRecord | null): Ending | null {
  if (record?.type === 'unbind') return { by: 'unbound', ...pick(record.data) };
  if (record?.type === 'import' && record.data.stage === 'get_pfn' && record.data.errno === 0)
    return { by: 'fault_resolved', ...pick(record.data) };
  return null;
}

function pick({ inode, pid, t }: Pick<Ending, 'inode' | 'pid' | 't'>): Omit<Ending, 'by'> {
  return { inode, pid, t };
}

/** Whether this ends the incident: it is of the same buffer and VM, and later than the last rejected fault. */
function ends({ by, inode, pid, t }: Ending, { inode: of, vm, details }: IncidentState<Last>): boolean {
  if (by === 'fault_resolved' && details.reason === 'beyond_buffer') return false;
  return inode === of && pid === vm?.pid && t > details.t;
}
