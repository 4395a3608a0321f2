import type { BufferState } from '../model/buffer-state.ts';
import type { Violation } from '../protocol/codes.ts';
import type { TupleOf } from '../protocol/tuples.ts';
import { closeIfOver, type Detector, type IncidentRule, PRIVATE_DIALECTS, type RuleContext } from './rule.ts';
import type { IncidentState } from './store.ts';

type Bind = TupleOf<'bind'>['data'];
type Unbind = TupleOf<'unbind'>['data'];

/** The most recent unbinds that are kept for a bind that arrives late. */
const RECENT_LIMIT = 64;

/** What the rules share whose incident is a bind that KVM must not accept. */
export function bindRule(violation: Violation): Omit<IncidentRule<null>, 'opens' | 'problem'> {
  return {
    probes: ['bind'],
    dialects: PRIVATE_DIALECTS,
    securityRelevant: true,
    confirmedBySnapshot: false,
    runbook: 'VfioDmabufPolicyViolation',
    closes: 'KVM unbinds the buffer, that VM ends, or the buffer is released',
    remedy: 'A defect of the kernel: stop that VM.',

    severity: () => 'critical',
    closing: (incident, record) =>
      record?.type === 'unbind' && ends(record.data, incident, incident.since) ? 'unbound' : null,
    detector: (context) => detectBinds(violation, context),
  };
}

function detectBinds(violation: Violation, context: RuleContext<null>): Detector {
  const unbinds: Unbind[] = [];

  function bound(bind: Bind, buffer: BufferState | undefined): void {
    const { t, inode, pid, device, vm_pid } = bind;
    const subject = `${inode}\n${vm_pid}`;
    const known = context.find(subject);
    if (known !== undefined) known.count += 1;
    // vm_pid is only the thread that created the VM. KVM accepts a bind only from the VM's process (kvm->mm), so use pid.
    const vm = context.processes.at(pid, t);
    const incident =
      known ??
      context.open({
        subject,
        since: t,
        openedAt: t,
        device: device || (buffer?.device ?? 0),
        inode,
        buffer: buffer ?? null,
        vm,
        details: null,
      });
    if (incident === null) return;
    const unbind = unbinds.find((one) => ends(one, incident, t));
    closeIfOver(context, incident, vm, unbind && { t: unbind.t, by: 'unbound' });
  }

  return {
    event({ type, data }, buffer) {
      if (type === 'unbind') {
        unbinds.push(data);
        if (unbinds.length > RECENT_LIMIT) unbinds.shift();
      }
      if (type === 'bind' && data.violation === violation) bound(data, buffer);
    },
  };
}

/**
 * Whether an unbind ends an incident that began at `since`. As for a bind, the task identifies the VM. The event's VM is
 * that of the buffer's device.
 */
function ends({ inode, pid, t }: Unbind, incident: IncidentState, since: number): boolean {
  return inode === incident.inode && pid === incident.vm?.pid && t >= since;
}
