import { Deadlines } from '../deadlines.ts';
import { bufferName, importerText, moreText } from '../names.ts';
import { participantsOf } from '../participants.ts';
import { type IncidentRule, type Names, openingFor } from '../rule.ts';
import type { IncidentState } from '../store.ts';

/** Time for which a buffer may outlive its owner. */
const GRACE_US = 10_000_000;

export const orphaned: IncidentRule<null> = {
  probes: ['export', 'release'],
  confirmedBySnapshot: true,
  runbook: 'VfioDmabufOrphanedBuffers',
  opens: 'the exporting process has ended, and the buffer still exists 10 s later',
  closes: 'the buffer is released',
  remedy:
    'End the holders that it names; if no process holds the buffer, an importer is still attached to it.',

  severity: () => 'warning',
  problem: (incident, names) =>
    `${ownerName(incident)} has ended, but ${bufferName(incident, names)} still exists, ` +
    `held by ${holdersText(names)}`,

  detector: ({ buffers, isDetected, find, open }) => {
    const orphans = new Deadlines();
    return {
      exported(_data, buffer) {
        // The exit of the owner arrived first.
        if (!buffer.released && buffer.ownerGoneAt !== null) orphans.add(buffer.inode, buffer.ownerGoneAt);
      },
      processExited(process, t) {
        for (const buffer of buffers.ownedBy(process)) orphans.add(buffer.inode, t);
      },
      settle(buffer) {
        if (buffer.released) orphans.delete(buffer.inode);
      },
      advance(t) {
        for (const { key, since } of orphans.due(t - GRACE_US)) {
          const buffer = buffers.get(key);
          // The owner has not ended if the pid turned out to be that of a later process.
          const isOrphan = buffer !== undefined && buffer.ownerGoneAt !== null;
          if (isOrphan && isDetected()) open(openingFor(buffer, since, since + GRACE_US));
        }
      },
      beforeRelease(buffer) {
        const incident = find(String(buffer.inode));
        if (incident !== undefined) Object.assign(incident, participantsOf(buffer));
      },
      current: ({ buffer }) => (buffer === null || buffer.released ? null : participantsOf(buffer)),
    };
  },
};

function ownerName({ buffer }: IncidentState): string {
  const owner = buffer?.owner ?? null;
  return owner === null ? 'The owner' : `${owner.comm} (pid ${owner.pid})`;
}

function holdersText({ holders, importers }: Names): string {
  const by = [
    ...holders.shown.map(({ comm, pid, fds }) => `${comm} (pid ${pid}, ${fds} fds)`),
    ...importers.shown.map(importerText),
    ...moreText(holders.more + importers.more),
  ];
  return by.length === 0 ? 'unknown holders' : by.join(', ');
}
