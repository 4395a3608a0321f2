import { FifoMap } from '../../lib/fifo-map.ts';
import { Deadlines } from '../deadlines.ts';
import { bufferName } from '../names.ts';
import type { IncidentRule } from '../rule.ts';

/** A reader of /proc/PID/fd holds the path of a buffer for a moment. */
const GRACE_US = 1_000_000;
/** The most recent releases of VFIO that are kept, because the release of the file may arrive later. */
const RECENT_LIMIT = 64;

export const lateRelease: IncidentRule<null> = {
  probes: ['late_release'],
  confirmedBySnapshot: false,
  runbook: 'VfioDmabufLateRelease',
  opens: 'the file of a buffer is released, and 1 s later a descriptor with O_PATH still holds the buffer',
  closes:
    'VFIO releases the buffer. After a handover or a restart of bpftrace the new program does not recognize that release, ' +
    'and the incident stays open until the daemon restarts',
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
    const recent = new FifoMap<number, number>();
    return {
      event(record) {
        if (record.type !== 'late_release') return;
        const { inode, device, t, done } = record.data;
        if (!done) {
          if ((recent.get(inode) ?? -1) >= t) return;
          held.add(inode, t);
          devices.set(inode, device);
          return;
        }
        recent.set(inode, t);
        const oldest = recent.oldest();
        if (recent.size > RECENT_LIMIT && oldest !== undefined) recent.delete(oldest);
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
