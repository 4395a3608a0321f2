import assert from 'node:assert/strict';
import type { Lab } from '../lab.ts';
import type { Scenario } from '../scenario.ts';
import { rebind } from './importer-calls.ts';
import {
  type BufferLabels,
  detached,
  exported,
  imported,
  KIB,
  PLAIN,
  RESETTABLE,
  routed,
  SWITCHED,
  sum,
  unmapped,
} from './names.ts';

/**
 * A scenario in which an importing device attaches and maps a buffer of another device. `around` prepares the machine,
 * calls the import, and undoes the preparation.
 */
function withRoute(
  name: string,
  title: string,
  [exporter, importing]: readonly [exporter: string, importing: string],
  importer: string,
  route: string,
  around: (lab: Lab, importIt: () => Promise<void>) => Promise<void>,
): Scenario {
  const labels: BufferLabels = { device: exporter, privacy: 'undeclared' };
  const import_ = { kind: 'import', device: exporter, importer, importer_device: importing, errno: 0 };
  return {
    name,
    title,
    dialect: 'mainline',
    run: (lab) =>
      around(lab, async () => {
        const steps = await lab.session(
          `device=${exporter}`,
          'export=2,0:4096',
          ...[`attach=0,p2p,invalidate,on=${importing}`, 'map=0', 'unmap=0', 'detach=0'],
          'close=0',
        );
        assert.deepEqual(
          steps.map(({ errno }) => errno),
          steps.map(() => 0),
        );
      }),
    metrics: sum(
      exported(exporter, 4 * KIB),
      ...[imported(importer, 'attach', 1, labels), imported(importer, 'map', 1, labels)],
      ...[routed(importer, route, labels), unmapped(importer, labels), detached(importer, 1, labels)],
      { releases_total: 1 },
    ),
    events: [
      { kind: 'export', errno: 0 },
      { ...import_, stage: 'attach', route: null } as never,
      { ...import_, stage: 'map', route } as never,
      { kind: 'unmap', importer } as never,
      { kind: 'detach', importer },
      { kind: 'release', device: exporter },
    ],
  };
}

/**
 * Lets the host bridge forward between its devices, and binds the importing device to the lab's importer, with a domain
 * of this type. The exporting device is unbound and bound, because the kernel keeps its decision until then.
 */
async function acrossHostBridge(lab: Lab, domain: string, importIt: () => Promise<void>): Promise<void> {
  const allow = async (value: 0 | 1): Promise<void> => {
    await lab.command(`echo ${value} >/sys/module/lab_host_bridge/parameters/peer_to_peer`);
    await rebind(lab, PLAIN, 'vfio-pci');
  };
  await allow(1);
  await setDomain(lab, domain);
  await rebind(lab, RESETTABLE, 'lab_importer');
  await importIt();
  await setDomain(lab, 'identity');
  await rebind(lab, RESETTABLE, 'vfio-pci');
  await allow(0);
}

/** The kernel changes the type of a domain only while the device has no driver. */
async function setDomain(lab: Lab, type: string): Promise<void> {
  await lab.command(
    `cd /sys/bus/pci/devices/${RESETTABLE}
     [ ! -e driver ] || echo ${RESETTABLE} >driver/unbind
     echo ${type} >iommu_group/type; [ "$(cat iommu_group/type)" = ${type} ]`,
  );
}

export const ROUTES: readonly Scenario[] = [
  withRoute(
    'route-switch',
    'a device maps the memory of another one behind the same switch: by bus address',
    [SWITCHED[0], SWITCHED[1]],
    'vfio-pci',
    'bus',
    (_, importIt) => importIt(),
  ),
  withRoute(
    'route-host-bridge',
    'a device on another root port maps without translation: through the host bridge',
    [PLAIN, RESETTABLE],
    'lab_importer',
    'host_bridge',
    (lab, importIt) => acrossHostBridge(lab, 'identity', importIt),
  ),
  withRoute(
    'route-iommu',
    'a device on another root port maps through its IOMMU',
    [PLAIN, RESETTABLE],
    'lab_importer',
    'iommu',
    (lab, importIt) => acrossHostBridge(lab, 'DMA', importIt),
  ),
];
