import type { Cell } from './cells.ts';
import { architectureOf, exportsDmaBufs } from './kernels.ts';
import { expectedOn } from './page-size.ts';
import type { Scenario } from './scenario.ts';
import { EXPORTS } from './scenarios/exports.ts';
import { IMPORTER_CALLS } from './scenarios/importer-calls.ts';
import { IMPORTERS } from './scenarios/importers.ts';
import { LIFETIMES } from './scenarios/lifetimes.ts';
import { PRIVATE } from './scenarios/private.ts';
import { REVOCATIONS } from './scenarios/revocations.ts';

/** Every row of the truth table: the same rows are tried on every cell that they can be tried on. */
export const SCENARIOS: readonly Scenario[] = [
  ...EXPORTS,
  ...IMPORTERS,
  ...IMPORTER_CALLS,
  ...REVOCATIONS,
  ...LIFETIMES,
  ...PRIVATE,
];

/** Rows of the mainline that need what 6.19 and 7.0 have not: pins, importers that must be revocable, a revoke that waits. */
const SINCE_7_1: readonly string[] = [
  'import-not-revocable',
  'import-dynamic',
  'import-rdma',
  'revoke-slow-importer',
];

/** Rows that mark a VM as confidential, in kvm_amd's own struct. */
const OF_KVM_AMD: readonly string[] = ['vm-kinds', 'confidential-shared'];

/** Rows in which a device with a revoked buffer is closed: 6.19 and 7.0 tell the importers once more. */
const TOLD_AGAIN: readonly string[] = ['revoke-close-of-revoked'];

/** The scenario as a kernel of 6.19 or 7.0 tells it: iommufd does not pin there. */
const ofLegacy = (scenario: Scenario): Scenario => ({
  ...scenario,
  ...(TOLD_AGAIN.includes(scenario.name) && { toldAgain: 1 }),
  metrics: Object.fromEntries(
    Object.entries(scenario.metrics).filter(([key]) => !key.includes('stage="pin"')),
  ),
  events: scenario.events.filter((event) => !('stage' in event && event.stage === 'pin')),
});

/** Why a cell cannot be asked a row of the table; undefined where it can. */
export const explainUnmet = (scenario: Scenario, { kernel, dialect }: Cell): string | undefined => {
  if (!exportsDmaBufs(kernel)) return 'no VFIO dma-buf export';
  if (architectureOf(kernel) !== 'amd64' && OF_KVM_AMD.includes(scenario.name)) return 'marks VMs in kvm_amd';
  if (scenario.dialect === dialect) return undefined;
  if (scenario.dialect !== 'mainline' || dialect !== 'legacy') return `of ${scenario.dialect}`;
  return SINCE_7_1.includes(scenario.name) ? 'since 7.1' : undefined;
};

/** The scenario as a cell has to tell it; undefined where the cell cannot be asked. */
export const scenarioOn = (scenario: Scenario, cell: Cell): Scenario | undefined => {
  if (explainUnmet(scenario, cell) !== undefined) return undefined;
  const { metrics, events, ...rest } =
    cell.dialect === 'legacy' && scenario.dialect !== 'legacy' ? ofLegacy(scenario) : scenario;
  return {
    ...rest,
    metrics: expectedOn(cell.kernel, metrics),
    events: events.map((event) => expectedOn(cell.kernel, event)),
  };
};

/**
 * One scenario for each probe fragment (probes/NAME.bt): what a cell is asked that differs from another only by its bpftrace. Null
 * where no scenario makes the kernel call the function.
 */
export const SPOT_CHECKS: Readonly<Record<string, string | null>> = {
  attach: 'import-vgem',
  bind: 'private-bind-accepted',
  'call-buffer': 'import-rdma-beyond',
  'core-attach': 'import-static',
  'core-map': 'import-topology',
  'core-pin': 'import-dynamic',
  detach: 'import-dynamic',
  // It needs a network driver with page pools of device memory, which QEMU has not.
  devmem: null,
  export: 'export-odd-task-name',
  'iommufd-file': 'import-iommufd-beyond',
  'iommufd-map': 'import-iommufd',
  map: 'import-dynamic',
  pin: 'import-pin-rejected',
  prime: 'import-prime-unsupported',
  'private-read': 'private-bind-accepted',
  rdma: 'import-rdma',
  'rdma-map': 'import-rdma',
  release: 'export-one-range',
  revoke: 'revoke-memory-enabled-again',
  unbind: 'private-bind-accepted',
  unmap: 'import-dynamic',
  videobuf2: 'import-videobuf2-too-small',
  vmap: 'import-vmap',
};

/** Whether `all` asks a cell this scenario; the matrix asks every cell all of its own. */
export const isEveryday = (scenario: Scenario, { suite, dialect }: Cell): boolean => {
  if (dialect === 'legacy') return scenario.dialect === 'legacy' || TOLD_AGAIN.includes(scenario.name);
  return suite === 'trixie' || dialect !== 'mainline' || Object.values(SPOT_CHECKS).includes(scenario.name);
};
