import type { Guest, GuestDialect } from './guest.ts';

/**
 * Probes of the independent oracle. They are ftrace probes, not BPF, on the functions that the tracer probes. ftrace
 * counts the calls in histograms by return value, and the lab compares these counts with the metrics.
 */
const EVENTS: Readonly<Record<string, { probe: string; key: string }>> = {
  export: { probe: 'vfio_pci_core_feature_dma_buf%return ret=$retval:s32', key: 'ret' },
  attach: { probe: 'vfio_pci_dma_buf_attach%return ret=$retval:s32', key: 'ret' },
  iommufd_map: { probe: 'vfio_pci_dma_buf_iommufd_map%return ret=$retval:s32', key: 'ret' },
  map: { probe: 'vfio_pci_dma_buf_map%return ret=$retval:s64', key: 'ret' },
  map_type: { probe: 'pci_p2pdma_map_type%return code=$retval:s32', key: 'code' },
  iova: { probe: 'dma_iova_try_alloc%return code=$retval:u8', key: 'code' },
  unmap: { probe: 'vfio_pci_dma_buf_unmap', key: 'common_pid' },
  pin: { probe: 'dma_buf_pin%return ret=$retval:s32', key: 'ret' },
  vmap: { probe: 'dma_buf_vmap%return ret=$retval:s32', key: 'ret' },
  mmap: { probe: 'dma_buf_mmap_internal%return ret=$retval:s32', key: 'ret' },
  iommufd_file: { probe: 'iommufd_ioas_map_file%return ret=$retval:s32', key: 'ret' },
  ioas_copy: { probe: 'iommufd_ioas_copy%return ret=$retval:s32', key: 'ret' },
  ioas_map: { probe: 'iopt_map_user_pages%return ret=$retval:s32', key: 'ret' },
  rdma: { probe: 'ib_umem_dmabuf_get_with_dma_device%return ret=$retval:s64', key: 'ret' },
  prime: { probe: 'drm_gem_prime_fd_to_handle%return ret=$retval:s32', key: 'ret' },
  videobuf2: { probe: '__buf_prepare%return ret=$retval:s32', key: 'ret' },
  release: { probe: 'vfio_pci_dma_buf_release', key: 'common_pid' },
  invalidate: { probe: 'dma_buf_invalidate_mappings', key: 'common_pid' },
  private_read: { probe: 'vfio_dma_buf_get_data%return ret=$retval:s64', key: 'ret' },
  slot: { probe: '__kvm_set_memory_region%return ret=$retval:s32', key: 'ret' },
  get_pfn: { probe: 'kvm_vfio_dmabuf_get_pfn%return ret=$retval:s32', key: 'ret' },
  zap: { probe: 'kv_dmabuf_move_notify', key: 'common_pid' },
};
/** enum pci_p2pdma_map_type of the kernel. */
const MAP_BUS_ADDR = '3';
const MAP_THRU_HOST_BRIDGE = '4';
const PRIVATE_ONLY = ['private_read', 'slot', 'get_pfn', 'zap'];
/** Up to 7.0 the core's function had another name. The lab's `legacy` exporter uses that name too. */
const LEGACY = { invalidate: { probe: 'dma_buf_move_notify', key: 'common_pid' } };

function add(counts: OracleCounts, name: string, outcome: string, count: number): void {
  const calls = counts[name] ?? {};
  calls[outcome] = (calls[outcome] ?? 0) + count;
  counts[name] = calls;
}

/**
 * Calls of one function by outcome: `0`, `value` (a descriptor or pointer), `-22` for EINVAL, or the number itself of
 * what is keyed by `code`.
 */
export type Calls = Record<string, number>;
/** Calls by the names of `EVENTS`. Functions that were not called are absent. */
export type OracleCounts = Record<string, Calls>;

export const TRACING = '/sys/kernel/tracing';

/** The events on functions that exist in a guest of this dialect. */
function eventsOf(dialect: GuestDialect): [string, { probe: string; key: string }][] {
  return Object.entries({ ...EVENTS, ...(dialect === 'legacy' && LEGACY) }).filter(
    ([name]) => dialect.startsWith('private') || !PRIVATE_ONLY.includes(name),
  );
}

function histogramOf(key: string): string {
  return `hist:keys=${key}:size=16384`;
}

/** Shell script that starts the oracle in a guest. */
export function oracleScript(dialect: GuestDialect): string {
  const lines = eventsOf(dialect).flatMap(([name, { probe, key }]) => [
    `echo 'f:oracle/${name} ${probe}' >>${TRACING}/dynamic_events`,
    `echo '${histogramOf(key)}' >${TRACING}/events/oracle/${name}/trigger`,
  ]);
  return ['set -e', ...lines].join('\n');
}

/** Shell script that stops the oracle, so that its probes cost nothing. */
export function stopOracleScript(dialect: GuestDialect): string {
  const lines = eventsOf(dialect).flatMap(([name, { key }]) => [
    `echo '!${histogramOf(key)}' >${TRACING}/events/oracle/${name}/trigger`,
    `echo '-:oracle/${name}' >>${TRACING}/dynamic_events`,
  ]);
  return ['set -e', ...lines].join('\n');
}

/** Reads what the oracle has counted since it was started. @throws Error if a histogram was full and dropped calls. */
export async function readOracle(guest: Guest): Promise<OracleCounts> {
  const { output } = await guest.run(`grep -rE '^{|Dropped: [1-9]' ${TRACING}/events/oracle --include=hist`);
  const counts: OracleCounts = {};
  for (const found of output.split('\n')) {
    const [, name = '', line = ''] = /\/(\w+)\/hist:(.*)$/.exec(found) ?? [];
    const entry = /^\{ (\w+): *(\d+) *\} hitcount: *(\d+)/.exec(line);
    if (entry !== null) {
      const [, key = '', value = '0', hits] = entry;
      const outcome = key === 'ret' ? outcomeOf(BigInt(value)) : key === 'code' ? value : '0';
      add(counts, name, outcome, Number(hits));
    }
    if (/Dropped: [1-9]/.test(line)) throw new Error(`the oracle dropped calls of ${name}`);
  }
  return counts;
}

/** `-N` for an errno, `0`, or `value` for a descriptor or a pointer. The histogram prints return values as unsigned. */
function outcomeOf(value: bigint): string {
  const signed = BigInt.asIntN(64, value);
  if (signed === 0n) return '0';
  return signed < 0n && signed > -4096n ? String(signed) : 'value';
}

/** The calls between two reads of the oracle. */
export function oracleSince(before: OracleCounts, after: OracleCounts): OracleCounts {
  const difference: OracleCounts = {};
  for (const [name, calls] of Object.entries(after)) {
    for (const [outcome, count] of Object.entries(calls)) {
      const grown = count - (before[name]?.[outcome] ?? 0);
      if (grown > 0) add(difference, name, outcome, grown);
    }
  }
  return difference;
}

/**
 * Compares the tracer's metrics with the oracle's counts; each difference is one line. If the kernel skipped probe runs
 * and the tracer reported that, each metric may be lower by up to `skipped` calls. It must never be higher.
 */
export function contradictions(
  recorded: OracleCounts,
  delta: Readonly<Record<string, number>>,
  skipped = 0,
): string[] {
  const counted = (name: string, ...labels: string[]): number =>
    Object.entries(delta)
      .filter(
        ([key]) =>
          (key === name || key.startsWith(`${name}{`)) && labels.every((label) => key.includes(label)),
      )
      .reduce((sum, [, value]) => sum + value, 0);
  const failed = (calls: Calls = {}): number =>
    Object.entries(calls).reduce((sum, [outcome, count]) => sum + (outcome.startsWith('-') ? count : 0), 0);
  const claims: [what: string, byTracer: number, byOracle: number][] = [
    ['exports_total', counted('exports_total'), recorded.export?.value ?? 0],
    ['export_rejections_total', counted('export_rejections_total'), failed(recorded.export)],
    ['releases_total', counted('releases_total'), recorded.release?.['0'] ?? 0],
    [
      'revocations_total + restorations_total',
      counted('revocations_total') + counted('restorations_total'),
      recorded.invalidate?.['0'] ?? 0,
    ],
    ['private_data_reads_total', counted('private_data_reads_total'), recorded.private_read?.value ?? 0],
    [
      'private_data_read_rejections_total',
      counted('private_data_read_rejections_total'),
      failed(recorded.private_read),
    ],
    ['unmaps_total', counted('unmaps_total'), recorded.unmap?.['0'] ?? 0],
    ['zaps_total', counted('zaps_total'), recorded.zap?.['0'] ?? 0],
  ];
  const routes = (byOracle: number, ...names: string[]): void => {
    const byTracer = names.map((name) => counted('mapping_routes_total', `route="${name}"`));
    claims.push([
      `mapping_routes_total of ${names.join(' and ')}`,
      byTracer.reduce((a, b) => a + b),
      byOracle,
    ]);
  };
  routes(recorded.map_type?.[MAP_BUS_ADDR] ?? 0, 'bus');
  routes(recorded.map_type?.[MAP_THRU_HOST_BRIDGE] ?? 0, 'host_bridge', 'iommu');
  routes(recorded.iova?.['1'] ?? 0, 'iommu');
  const imports = (stage: string, byOracle: number): void => {
    claims.push([`imports_total{stage="${stage}"}`, counted('imports_total', `stage="${stage}"`), byOracle]);
  };
  const rejections = (label: string, ...calls: (Calls | undefined)[]): void => {
    const byOracle = calls.reduce((sum, call) => sum + failed(call), 0);
    claims.push([`import_rejections_total{${label}}`, counted('import_rejections_total', label), byOracle]);
  };
  imports('attach', recorded.attach?.['0'] ?? 0);
  imports('iommufd', (recorded.iommufd_map?.['0'] ?? 0) + (recorded.ioas_copy?.['0'] ?? 0));
  // A bind succeeds or is rejected with the slot around it.
  imports('bind', recorded.slot?.['0'] ?? 0);
  imports('get_pfn', recorded.get_pfn?.['0'] ?? 0);
  imports('pin', recorded.pin?.['0'] ?? 0);
  imports('map', recorded.map?.value ?? 0);
  imports('rdma', recorded.rdma?.value ?? 0);
  rejections('stage="bind"', recorded.slot);
  rejections('stage="get_pfn"', recorded.get_pfn);
  // The tracer counts an attach that is rejected inside a bind only as a rejection of the bind.
  claims.push([
    'import_rejections_total{stage="attach"} and of binds of a revoked buffer',
    counted('import_rejections_total', 'stage="attach"') +
      counted('import_rejections_total', 'stage="bind"', 'reason="revoked"'),
    failed(recorded.attach),
  ]);
  rejections('stage="pin"', recorded.pin);
  rejections('stage="map"', recorded.map);
  rejections('stage="vmap"', recorded.vmap, recorded.mmap);
  // Whichever layer rejects the call, the tracer counts one rejection for its importer.
  // The tracer counts only EFAULT of a map by address.
  const byAddress = { '-14': recorded.ioas_map?.['-14'] ?? 0 };
  rejections('stage="ioas_map"', byAddress);
  rejections('importer="iommufd"', recorded.iommufd_file, byAddress);
  rejections('importer="vivid"', recorded.videobuf2);
  claims.push([
    'import_rejections_total of DRM',
    ...[
      counted('import_rejections_total', 'importer="vgem"') +
        counted('import_rejections_total', 'importer="lab_drm"'),
      failed(recorded.prime),
    ],
  ] as [string, number, number]);
  return claims
    .filter(([, byTracer, byOracle]) => byTracer > byOracle || byTracer < byOracle - skipped)
    .map(
      ([what, byTracer, byOracle]) =>
        `${what}: the tracer counted ${byTracer}, the oracle counted ${byOracle}`,
    );
}
