import type { IdleDevice } from '../contract/topology.ts';
import { deviceAddress } from './naming.ts';
import { type ProcessRecord, vmOfTask } from './processes.ts';

/** The processes that had each device (packed address) open at a snapshot. */
export interface DeviceHolders {
  /** When the snapshot was taken; microseconds since boot. */
  at: number;
  byDevice: ReadonlyMap<number, readonly ProcessRecord[]>;
}

/** The devices that a running process had open at the last snapshot, and that have no live or revoked buffer now. */
export function idleDevices(
  { at, byDevice }: DeviceHolders,
  hasBuffers: (device: number) => boolean,
  time: (micros: number) => string,
): IdleDevice[] {
  return [...byDevice].flatMap(([device, processes]) => {
    const running = processes.filter(({ goneAt }) => goneAt === null);
    if (running.length === 0 || hasBuffers(device)) return [];
    const holders = running.map((process) => ({
      pid: process.pid,
      comm: process.identity?.comm ?? null,
      vm: vmOfTask(process),
    }));
    return [{ device: deviceAddress(device), at: time(at), holders }];
  });
}
