import { capital } from '../../contract/format.ts';
import { bufferName } from '../names.ts';
import { type IncidentRule, openingFor } from '../rule.ts';

export const bornRevoked: IncidentRule<null> = {
  probes: ['export', 'revoke'],
  confirmedBySnapshot: true,
  runbook: 'VfioDmabufBornRevoked',
  opens: 'an export while the memory decode of the device is off: every import fails with ENODEV',
  closes: 'the memory is restored, or the buffer is released',
  remedy: 'The VMM has to enable memory decode before it exports.',

  severity: () => 'warning',
  problem: (incident, names) =>
    `${capital(bufferName(incident, names))} was exported while memory decode of its device was off: ` +
    'every import is rejected until it is on',
  closing: ({ buffer }) => (buffer?.revoked === false ? 'restored' : null),

  detector: ({ open }) => ({
    exported({ t, born_revoked }, buffer) {
      if (born_revoked) open(openingFor(buffer, t));
    },
  }),
};
