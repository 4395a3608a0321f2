import { bindRule } from '../bind-violations.ts';
import { bufferName, repetition, vmText } from '../names.ts';
import type { IncidentRule } from '../rule.ts';

export const foreignVm: IncidentRule<null> = {
  ...bindRule('foreign_vm'),
  opens: 'KVM accepted a bind of a buffer to a VM that does not own its device',
  problem: (incident, { device, vm, ownerVm }) =>
    `KVM has bound ${bufferName(incident, { device, vm: null })} to ${vmText(vm)}, ` +
    `but its device belongs to ${vmText(ownerVm)}${repetition(incident.count)}`,
};
