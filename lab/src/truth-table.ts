import type { Cell } from './cells.ts';
import { architectureOf, exportsDmaBufs } from './kernels.ts';
import { expectedOn } from './page-size.ts';
import type { Scenario } from './scenario.ts';
import { ADDRESSES } from './scenarios/addresses.ts';
import { EXPORTS } from './scenarios/exports.ts';
import { IMPORTER_CALLS } from './scenarios/importer-calls.ts';
import { IMPORTERS } from './scenarios/importers.ts';
import { LIFETIMES } from './scenarios/lifetimes.ts';
import { PRIVATE } from './scenarios/private.ts';
import { REVOCATIONS } from './scenarios/revocations.ts';
import { ROUTES } from './scenarios/routes.ts';

/** All rows of the truth table. Each row runs on every cell that it can run on. */
export const SCENARIOS: readonly Scenario[] = [
  ...EXPORTS,
  ...IMPORTERS,
  ...ADDRESSES,
  ...IMPORTER_CALLS,
  ...ROUTES,
  ...REVOCATIONS,
  ...LIFETIMES,
  ...PRIVATE,
];

/** Mainline rows that need 7.1 or newer: pins, the check for revocable importers, a revocation that waits. */
const SINCE_7_1: readonly string[] = [
  'import-not-revocable',
  'import-dynamic',
  'import-rdma',
  'revoke-slow-importer',
];

/** Rows that mark a VM as confidential in kvm_amd's struct. */
const OF_KVM_AMD: readonly string[] = ['vm-kinds', 'confidential-shared'];

/** Rows that close a device with a revoked buffer. 6.19 and 7.0 then notify the importers a second time. */
const NOTIFIES_TWICE: readonly string[] = ['revoke-close-of-revoked'];

/** The scenario on a kernel of 6.19 or 7.0, where iommufd does not pin. */
function ofLegacy(scenario: Scenario): Scenario {
  return {
    ...scenario,
    ...(NOTIFIES_TWICE.includes(scenario.name) && { repeatedInvalidations: 1 }),
    metrics: Object.fromEntries(
      Object.entries(scenario.metrics).filter(([key]) => !key.includes('stage="pin"')),
    ),
    events: scenario.events.filter((event) => !('stage' in event && event.stage === 'pin')),
  };
}

/** Why a scenario cannot run on a cell; undefined if it can. */
export function explainUnmet(scenario: Scenario, { kernel, dialect }: Cell): string | undefined {
  if (!exportsDmaBufs(kernel)) return 'no VFIO dma-buf export';
  if (architectureOf(kernel) !== 'amd64' && OF_KVM_AMD.includes(scenario.name)) return 'marks VMs in kvm_amd';
  if (scenario.dialect === dialect) return undefined;
  if (scenario.dialect !== 'mainline' || dialect !== 'legacy') return `of ${scenario.dialect}`;
  return SINCE_7_1.includes(scenario.name) ? 'since 7.1' : undefined;
}

/** The scenario with the events and metrics that the cell must report; undefined if it cannot run there. */
export function scenarioOn(scenario: Scenario, cell: Cell): Scenario | undefined {
  if (explainUnmet(scenario, cell) !== undefined) return undefined;
  const { metrics, events, ...rest } =
    cell.dialect === 'legacy' && scenario.dialect !== 'legacy' ? ofLegacy(scenario) : scenario;
  return {
    ...rest,
    metrics: expectedOn(cell.kernel, metrics),
    events: events.map((event) => expectedOn(cell.kernel, event)),
  };
}

/**
 * One scenario for each probe fragment (probes/NAME.bt). `all` runs only these on a cell that differs from another one
 * only in its bpftrace. Null if no scenario makes the kernel call the function.
 */
export const SPOT_CHECKS: Readonly<Record<string, string | null>> = {
  attach: 'import-vgem',
  bind: 'private-bind-accepted',
  'call-buffer': 'import-rdma-beyond',
  'core-attach': 'import-static',
  'core-map': 'import-topology',
  'core-pin': 'import-dynamic',
  detach: 'import-dynamic',
  // Needs a network driver with page pools of device memory; QEMU has no such device.
  devmem: null,
  export: 'export-odd-task-name',
  fault: 'private-fault-revoked',
  'ioas-copy': 'iommufd-copy',
  'ioas-map': 'bar-by-address',
  'iommufd-file': 'import-iommufd-beyond',
  'iommufd-map': 'import-iommufd',
  'late-release': 'late-release',
  map: 'import-dynamic',
  'map-route': 'import-dynamic',
  pin: 'import-pin-rejected',
  prime: 'import-prime-unsupported',
  'private-read': 'private-bind-accepted',
  rdma: 'import-rdma',
  'rdma-map': 'import-rdma',
  release: 'export-one-range',
  revoke: 'revoke-memory-enabled-again',
  slot: 'private-bind-rolled-back',
  unbind: 'private-bind-accepted',
  unmap: 'import-dynamic',
  videobuf2: 'import-videobuf2-too-small',
  vmap: 'import-vmap',
  zap: 'private-fault-revoked',
};

/** Whether `all` runs this scenario on the cell. The matrix runs all scenarios of every cell. */
export function isEveryday(scenario: Scenario, { suite, dialect }: Cell): boolean {
  if (dialect === 'legacy') return scenario.dialect === 'legacy' || NOTIFIES_TWICE.includes(scenario.name);
  return suite === 'trixie' || dialect !== 'mainline' || Object.values(SPOT_CHECKS).includes(scenario.name);
}
