import { bufferName } from '../names.ts';
import { type IncidentRule, openingFor } from '../rule.ts';

export const mappingsLost: IncidentRule<null> = {
  probes: ['revoke', 'iommufd_map'],
  confirmedBySnapshot: false,
  runbook: 'VfioDmabufLostMappings',
  opens: 'a revocation removed a mapping of iommufd (`iopt_revoke_notify`)',
  closes: 'the buffer is remapped or released',
  remedy: 'The VMM has to remap the dma-buf; until then, device-to-device DMA to it faults.',

  severity: () => 'warning',
  problem: (incident, names) =>
    `iommufd has lost ${incident.count} ${incident.count === 1 ? 'mapping' : 'mappings'} of ` +
    `${bufferName(incident, names)} by a revocation: DMA to it fails until it is remapped`,
  closing: ({ buffer }) => (buffer?.lostMappings === 0 ? 'mapped_again' : null),

  detector: ({ open }) => ({
    settle(buffer, t) {
      if (buffer.lostMappings === 0) return;
      const incident = open(openingFor(buffer, buffer.revokedAt ?? t));
      if (incident !== null) incident.count = buffer.lostMappings;
    },
  }),
};
