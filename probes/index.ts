import { attach } from './attach.ts';
import { bind, bindEvent } from './bind.ts';
import { callBuffer } from './call-buffer.ts';
import { coreAttach } from './core-attach.ts';
import { coreMap } from './core-map.ts';
import { corePin } from './core-pin.ts';
import { detach } from './detach.ts';
import { devmem } from './devmem.ts';
import { exported } from './export.ts';
import { fault } from './fault.ts';
import { ioasCopy } from './ioas-copy.ts';
import { ioasMap } from './ioas-map.ts';
import { iommufdFile } from './iommufd-file.ts';
import { iommufdMap } from './iommufd-map.ts';
import { lateRelease } from './late-release.ts';
import { map } from './map.ts';
import { mapRoute } from './map-route.ts';
import { snapshot } from './oneshot/snapshot.ts';
import { pin } from './pin.ts';
import { prime } from './prime.ts';
import { privateRead } from './private-read.ts';
import { rdma } from './rdma.ts';
import { rdmaMap } from './rdma-map.ts';
import { release } from './release.ts';
import { revoke } from './revoke.ts';
import { composer } from './shared/composer.ts';
import { importCounts, importEvent } from './shared/importing.ts';
import { missedReturns } from './shared/missed-returns.ts';
import { policyViolations } from './shared/policy-violations.ts';
import { slot } from './slot.ts';
import { unbind } from './unbind.ts';
import { unmap } from './unmap.ts';
import { videobuf2 } from './videobuf2.ts';
import { vmap } from './vmap.ts';
import { zap } from './zap.ts';

/** All declarations. The families of /metrics have their order. */
export const DECLARATIONS = [
  composer,
  snapshot,
  exported,
  release,
  lateRelease,
  importEvent,
  importCounts,
  attach,
  pin,
  map,
  mapRoute,
  iommufdMap,
  coreAttach,
  corePin,
  coreMap,
  vmap,
  callBuffer,
  iommufdFile,
  ioasCopy,
  ioasMap,
  rdma,
  rdmaMap,
  prime,
  videobuf2,
  devmem,
  bindEvent,
  bind,
  slot,
  unbind,
  fault,
  detach,
  unmap,
  revoke,
  zap,
  privateRead,
  policyViolations,
  missedReturns,
] as const;
