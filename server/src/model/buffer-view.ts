import type { BufferView } from '../contract/buffers.ts';
import type { BufferState } from './buffer-state.ts';
import { routeOf } from './importers.ts';
import { deviceAddress } from './naming.ts';
import { vmOfTask } from './processes.ts';
import { vmOf } from './vms.ts';

export interface ViewContext {
  /** Converts microseconds since boot to ISO 8601. */
  time: (micros: number) => string;
  /** The interface name of the PCI device at this address, such as mlx5_0. */
  interfaceOf: (device: string) => string | null;
}

function stateOf({ released, revoked }: Readonly<BufferState>): BufferView['state'] {
  return released ? 'released' : revoked ? 'revoked' : 'live';
}

export type BufferFilter = Partial<Pick<BufferView, 'device' | 'state' | 'privacy'>>;

export function matches(buffer: Readonly<BufferState>, { device, state, privacy }: BufferFilter): boolean {
  return (
    (device === undefined || deviceAddress(buffer.device) === device) &&
    (state === undefined || stateOf(buffer) === state) &&
    (privacy === undefined || buffer.privacy === privacy)
  );
}

/** The buffer as the API shows it. */
export function bufferView(buffer: BufferState, { time, interfaceOf }: ViewContext): BufferView {
  const timeOrNull = (micros: number | null) => (micros === null ? null : time(micros));
  return {
    inode: buffer.inode,
    state: stateOf(buffer),
    device: deviceAddress(buffer.device),
    region: buffer.region,
    ranges: buffer.ranges,
    bytes: buffer.bytes,
    privacy: buffer.privacy,
    born_revoked: buffer.bornRevoked,
    preexisting: buffer.preexisting,
    owner:
      buffer.owner === null
        ? null
        : { pid: buffer.owner.pid, comm: buffer.owner.comm, gone: buffer.ownerGoneAt !== null },
    vm: vmOf(buffer),
    exported_at: timeOrNull(buffer.exportedAt),
    changed_at: time(buffer.changedAt),
    revoke_cause: buffer.revokeCause,
    lost_mappings: buffer.lostMappings,
    attachments: Array.from(buffer.importers.attached(), (state) => ({
      importer: state.importer,
      importer_device: state.importerDevice,
      count: state.attached.count,
      mapped: state.mapped.count > 0,
      route: routeOf(state),
      since: time(state.since),
      importer_interface: interfaceOf(state.importerDevice),
      task: state.task === null ? null : { pid: state.task.pid, comm: state.task.comm },
      by_vm: vmOfTask(state.task?.process ?? null),
    })),
    attachment_count: buffer.attachments.count,
    holders: buffer.holders.map((holder) => ({ ...holder })),
    holders_at: timeOrNull(buffer.holdersAt),
  };
}
