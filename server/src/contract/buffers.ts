import { type Static, Type } from 'typebox';
import { CAUSES, PRIVACIES } from '../protocol/codes.ts';
import { Holder } from '../protocol/wire.ts';
import { ByVm, DeviceAddress, ImporterInterface, MappingRoute, Nullable, VmRef } from './fields.ts';

/** The attachments of one importer to one buffer. */
export const Attachment = Type.Object({
  importer: Type.String(),
  importer_device: Type.String(),
  count: Type.Integer({ minimum: 1 }),
  mapped: Type.Boolean({
    description: 'whether this importer has a mapping that was not lost',
  }),
  route: MappingRoute,
  since: Type.String(),
  importer_interface: ImporterInterface,
  task: Nullable(
    Type.Object(
      { pid: Type.Integer(), comm: Type.String() },
      { description: 'the task of the last import call; null if no call was traced' },
    ),
  ),
  by_vm: ByVm,
});

/**
 * A VFIO dma-buf. `live`: may be mapped. `revoked`: may not be mapped now. `released`: no longer exists; the last ones
 * are kept.
 */
export const BufferView = Type.Object({
  inode: Type.Integer(),
  state: Type.Enum(['live', 'revoked', 'released']),
  device: DeviceAddress,
  region: Nullable(Type.Integer()),
  ranges: Type.Integer(),
  bytes: Type.Integer(),
  privacy: Type.Enum([...PRIVACIES]),
  born_revoked: Type.Boolean(),
  preexisting: Type.Boolean({
    description: 'its export was not traced, for example because a snapshot found it',
  }),
  owner: Nullable(
    Type.Object({
      pid: Type.Integer(),
      comm: Type.String(),
      gone: Type.Boolean({ description: 'the exporting process has ended' }),
    }),
  ),
  vm: Nullable(VmRef),
  exported_at: Nullable(Type.String()),
  changed_at: Type.String(),
  revoke_cause: Nullable(Type.Enum([...CAUSES])),
  lost_mappings: Type.Integer({
    description:
      'iommufd mappings that were removed by a revocation and not remapped. Each new iommufd map of the buffer reduces the ' +
      'number by one, its release sets it to 0, a detach does not change it.',
  }),
  attachments: Type.Array(Attachment),
  attachment_count: Type.Integer({
    description: 'attachments that the kernel counted at the last snapshot, updated by later events',
  }),
  holders: Type.Array(Holder),
  holders_at: Nullable(Type.String({ description: 'when the holders were last read from /proc' })),
});
export type BufferView = Static<typeof BufferView>;
