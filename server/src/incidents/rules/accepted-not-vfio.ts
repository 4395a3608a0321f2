import { bindRule } from '../bind-violations.ts';
import { bufferName, repetition, vmText } from '../names.ts';
import type { IncidentRule } from '../rule.ts';

export const acceptedNotVfio: IncidentRule<null> = {
  ...bindRule('accepted_not_vfio'),
  opens: 'KVM accepted a bind of a buffer that VFIO did not export',
  problem: (incident, { device, vm }) =>
    `KVM has bound ${bufferName(incident, { device, vm: null })} to ${vmText(vm)} ` +
    `although VFIO did not export it${repetition(incident.count)}`,
};
