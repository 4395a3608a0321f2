import { capital } from '../../contract/format.ts';
import { Deadlines } from '../deadlines.ts';
import { bufferName } from '../names.ts';
import { type IncidentRule, openingFor } from '../rule.ts';

/** Time for which an export may have no importer. */
const GRACE_US = 300_000_000;

export const neverImported: IncidentRule<null> = {
  probes: ['export', 'release', 'attach'],
  confirmedBySnapshot: false,
  runbook: 'VfioDmabufNeverImported',
  opens: 'no importer has attached an exported buffer for 5 minutes',
  closes: 'an importer attaches the buffer, or it is released',
  remedy:
    'Harmless if the VMM exports in advance; otherwise see `/api/v1/rejections` for rejected importers.',

  severity: () => 'info',
  problem: (incident, names) =>
    `${capital(bufferName(incident, names))} was exported, but no importer has attached it`,
  closing: ({ buffer }) => (buffer?.imported === true ? 'imported' : null),

  detector: ({ buffers, isDetected, open }) => {
    const exports = new Deadlines();
    return {
      exported({ t }, buffer) {
        if (!buffer.released) exports.add(buffer.inode, t);
      },
      settle(buffer) {
        if (buffer.imported || buffer.released) exports.delete(buffer.inode);
      },
      advance(t) {
        for (const { key, since } of exports.due(t - GRACE_US)) {
          const buffer = buffers.get(key);
          if (buffer !== undefined && isDetected()) open(openingFor(buffer, since, since + GRACE_US));
        }
      },
    };
  },
};
