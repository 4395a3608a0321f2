import { Deadlines } from '../deadlines.ts';
import { bufferName } from '../names.ts';
import type { IncidentRule } from '../rule.ts';

/** A reader of /proc/PID/fd holds the path of a buffer for a moment. */
const GRACE_US = 1_000_000;

export const lateRelease: IncidentRule<null> = {
  probes: ['late_release'],
  securityRelevant: true,
  confirmedBySnapshot: false,
  runbook: 'VfioDmabufLateRelease',
  opens: 'the file of a buffer is released, and 1 s later a descriptor with O_PATH still holds the buffer',
  closes: 'that descriptor is closed, and VFIO releases the buffer',
  remedy:
    'End the process with the O_PATH descriptor before the device is reset, revoked or closed. ' +
    'A kernel that clears `dmabuf->file` at the release of the file is safe.',

  severity: () => 'critical',
  problem: (incident, names) =>
    `The file of ${bufferName(incident, names)} is released, but a descriptor with O_PATH keeps VFIO from releasing ` +
    'the buffer: the next revocation, reset or close of the device reads freed memory',

  detector: ({ find, open, close, isDetected }) => {
    const held = new Deadlines();
    /** The device of each key of `held`. */
    const devices = new Map<number, number>();
    return {
      event(record) {
        if (record.type !== 'late_release') return;
        const { inode, device, t, done } = record.data;
        if (!done) {
          held.add(inode, t);
          devices.set(inode, device);
          return;
        }
        held.delete(inode);
        devices.delete(inode);
        const incident = find(String(inode));
        if (incident !== undefined) close(incident, t, 'released');
      },
      advance(t) {
        for (const { key: inode, since } of held.due(t - GRACE_US)) {
          const device = devices.get(inode) ?? 0;
          devices.delete(inode);
          // Without the buffer: the model has released it, which must not close the incident.
          if (isDetected())
            open({ subject: String(inode), since, openedAt: since + GRACE_US, device, inode, details: null });
        }
      },
    };
  },
};
