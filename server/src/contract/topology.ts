import { type Static, Type } from 'typebox';
import { REASONS } from '../protocol/codes.ts';
import { BufferView } from './buffers.ts';
import { MappingRoute, Nullable, VmRef } from './fields.ts';

const Id = Type.String({ description: 'vm:PID, device:ADDRESS, buffer:INODE or importer:NAME/DEVICE' });
const { inode, device, region, bytes, privacy, born_revoked } = BufferView.properties;

export const TopologyNode = Type.Union([
  Type.Object({ id: Id, type: Type.Literal('vm'), vm: VmRef }),
  Type.Object({ id: Id, type: Type.Literal('device'), device }),
  Type.Object({
    id: Id,
    type: Type.Literal('buffer'),
    inode,
    state: Type.Enum(['live', 'revoked']),
    region,
    bytes,
    privacy,
    born_revoked,
  }),
  Type.Object({
    id: Id,
    type: Type.Literal('importer'),
    importer: Type.String(),
    importer_device: Type.String(),
  }),
]);
export type TopologyNode = Static<typeof TopologyNode>;

const ends = { from: Id, to: Id };

export const TopologyEdge = Type.Union([
  Type.Object({ type: Type.Literal('assigned'), ...ends }, { description: 'from a VM to its device' }),
  Type.Object(
    { type: Type.Literal('export'), ...ends, private: Type.Boolean() },
    { description: 'from a device to its buffer' },
  ),
  Type.Object(
    {
      type: Type.Literal('import'),
      ...ends,
      state: Type.Enum(['live', 'revoked', 'rejected']),
      private: Type.Boolean(),
      mapped: Type.Boolean(),
      route: MappingRoute,
      reason: Type.Enum([...REASONS], {
        description: 'reason of the last rejection if state is rejected, else none',
      }),
    },
    { description: 'from a buffer to an importer that has attached it, or whose last attempt was rejected' },
  ),
]);
export type TopologyEdge = Static<typeof TopologyEdge>;

export const IdleDevice = Type.Object({
  device,
  at: Type.String({ description: 'when the open devices were last read from /proc' }),
  holders: Type.Array(
    Type.Object({
      pid: Type.Integer(),
      comm: Nullable(Type.String({ description: 'name of the process; null if it is not known' })),
      vm: Nullable(VmRef),
    }),
  ),
});
export type IdleDevice = Static<typeof IdleDevice>;

export const Topology = Type.Object({
  total: Type.Integer({ description: 'number of matching buffers, including those beyond the limit' }),
  nodes: Type.Array(TopologyNode),
  edges: Type.Array(TopologyEdge),
  idle_devices: Type.Array(IdleDevice, {
    description:
      'devices that a process had open at the last snapshot, and that have no buffer now: no other device can reach ' +
      'their memory. This is a fact and not a problem, because a VM needs no peer-to-peer DMA.',
  }),
});
export type Topology = Static<typeof Topology>;
/** The part of the topology that is drawn. */
export type Sharing = Omit<Topology, 'idle_devices'>;
