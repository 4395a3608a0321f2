import { capital } from '../../contract/format.ts';
import { bufferName } from '../names.ts';
import { type IncidentRule, openingFor } from '../rule.ts';

export const privateWithoutVm: IncidentRule<null> = {
  probes: ['export'],
  dialects: ['private-v1'],
  securityRelevant: true,
  confirmedBySnapshot: true,
  runbook: 'VfioDmabufPrivateWithoutVm',
  opens: 'a private export of a device that belongs to no VM',
  closes: 'the buffer is released',
  remedy: 'Attach the VFIO device to its VM (KVM_DEV_VFIO_FILE_ADD) before the export.',

  severity: () => 'warning',
  problem: (incident, names) =>
    `${capital(bufferName(incident, names))} is private, but its device belongs to no VM: no VM may bind it`,

  detector: ({ open }) => ({
    exported({ t, privacy, kvm }, buffer) {
      if (privacy === 'private' && !kvm) open(openingFor(buffer, t));
    },
    found(buffer, { device, kvm }, t) {
      // Whether a device has a VM does not change while it is open. So this was true at the export too.
      if (buffer.privacy === 'private' && device !== 0 && kvm === false)
        open(openingFor(buffer, buffer.firstSeenAt, t));
    },
  }),
};
