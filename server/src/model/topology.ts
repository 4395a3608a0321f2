import type { Sharing, TopologyEdge, TopologyNode } from '../contract/topology.ts';
import type { BufferState, Rejection } from './buffer-state.ts';
import { routeOf } from './importers.ts';
import { deviceAddress } from './naming.ts';
import { vmOf } from './vms.ts';

/** The current graph: VMs, their devices, the buffers of these devices, and their importers. */
export function topologyOf(
  buffers: Iterable<Readonly<BufferState>>,
  limit: number,
  onlyDevice?: string,
): Sharing {
  const nodes = new Map<string, TopologyNode>();
  const edges = new Map<string, TopologyEdge>();
  const node = (one: TopologyNode): string => {
    if (!nodes.has(one.id)) nodes.set(one.id, one);
    return one.id;
  };
  const edge = (one: TopologyEdge): void => {
    edges.set(`${one.from}\n${one.to}`, one);
  };
  let total = 0;
  for (const buffer of buffers) {
    const address = deviceAddress(buffer.device);
    if (onlyDevice !== undefined && address !== onlyDevice) continue;
    total += 1;
    if (total > limit) continue;
    const isPrivate = buffer.privacy === 'private';
    const from = node({ id: `device:${address}`, type: 'device', device: address });
    const vm = vmOf(buffer);
    if (vm !== null) edge({ type: 'assigned', from: node({ id: `vm:${vm.pid}`, type: 'vm', vm }), to: from });
    const id = node(bufferNode(buffer));
    edge({ type: 'export', from, to: id, private: isPrivate });
    const importer = ({
      importer: name,
      importerDevice,
    }: Pick<Rejection, 'importer' | 'importerDevice'>): string =>
      node({
        id: `importer:${name}/${importerDevice}`,
        type: 'importer',
        importer: name,
        importer_device: importerDevice,
      });
    for (const rejection of buffer.rejections.values()) {
      const { reason } = rejection;
      edge({
        type: 'import',
        from: id,
        to: importer(rejection),
        state: 'rejected',
        private: isPrivate,
        mapped: false,
        route: null,
        reason,
      });
    }
    // Added last: an existing attachment replaces the edge of an earlier rejection.
    for (const attached of buffer.importers.attached()) {
      const state = buffer.revoked ? 'revoked' : 'live';
      const mapped = attached.mapped.count > 0;
      edge({
        type: 'import',
        from: id,
        to: importer(attached),
        state,
        private: isPrivate,
        mapped,
        route: routeOf(attached),
        reason: 'none',
      });
    }
  }
  return { total, nodes: [...nodes.values()], edges: [...edges.values()] };
}

function bufferNode(buffer: Readonly<BufferState>): TopologyNode {
  const { region, bytes, privacy } = buffer;
  return {
    id: `buffer:${buffer.inode}`,
    type: 'buffer',
    inode: buffer.inode,
    state: buffer.revoked ? 'revoked' : 'live',
    region,
    bytes,
    privacy,
    born_revoked: buffer.bornRevoked,
  };
}
