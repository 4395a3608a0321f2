import { Catalogue } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import type { TracerModel } from '../../src/tracer/tracer.ts';
import { collectorLine, DEVICE_ADDRESS, HEADER, ready, starting } from '../fixtures/stream-lines.ts';

export const S = 1_000_000;
export const BEGIN = [HEADER, starting(S, 1), ready(S)];
export const GRACE_SECONDS = 900;

export function process(pid: number, name: string | null, more: object = {}) {
  return collectorLine('process', {
    t: 2 * S,
    pid,
    start_ticks: 10,
    comm: 'task',
    vmm: 'qemu',
    name,
    uuid: null,
    ...more,
  });
}
export function device(t: number, address = DEVICE_ADDRESS, more: object = {}) {
  return collectorLine('device', {
    t,
    device: address,
    vendor_id: '10de',
    device_id: '2330',
    driver: 'vfio-pci',
    iommu_group: '1',
    numa_node: 0,
    ...more,
  });
}
export function deviceGone(t: number, address = DEVICE_ADDRESS) {
  return collectorLine('device_gone', { t, device: address });
}

export async function metric(model: TracerModel, name: string): Promise<string[]> {
  const text = await renderMetrics(new Catalogue({ model, processMetrics: false }), 'text');
  return text.split('\n').filter((line) => line.startsWith(`vfio_dmabuf_${name}{`));
}
