import type { TracerEvent } from '../../src/contract/events.ts';

/** A release with this seq. */
export function release(seq: number, comm = 'c'): TracerEvent {
  return {
    seq,
    time: `t${seq}`,
    boot_us: seq,
    pid: 1,
    comm,
    kind: 'release',
    device: '0000:41:00.0',
    inode: seq,
  };
}
