import type { Guest, GuestDialect } from './guest.ts';

/**
 * The independent oracle: ftrace's own probes (not BPF) on the functions that the tracer probes, counted in histograms by
 * return value. What it counts is compared with the metrics.
 */
const EVENTS: Readonly<Record<string, { probe: string; key: string }>> = {
  export: { probe: 'vfio_pci_core_feature_dma_buf%return ret=$retval:s32', key: 'ret' },
  attach: { probe: 'vfio_pci_dma_buf_attach%return ret=$retval:s32', key: 'ret' },
  iommufd_map: { probe: 'vfio_pci_dma_buf_iommufd_map%return ret=$retval:s32', key: 'ret' },
  map: { probe: 'vfio_pci_dma_buf_map%return ret=$retval:s64', key: 'ret' },
  unmap: { probe: 'vfio_pci_dma_buf_unmap', key: 'common_pid' },
  pin: { probe: 'dma_buf_pin%return ret=$retval:s32', key: 'ret' },
  vmap: { probe: 'dma_buf_vmap%return ret=$retval:s32', key: 'ret' },
  mmap: { probe: 'dma_buf_mmap_internal%return ret=$retval:s32', key: 'ret' },
  iommufd_file: { probe: 'iommufd_ioas_map_file%return ret=$retval:s32', key: 'ret' },
  rdma: { probe: 'ib_umem_dmabuf_get_with_dma_device%return ret=$retval:s64', key: 'ret' },
  prime: { probe: 'drm_gem_prime_fd_to_handle%return ret=$retval:s32', key: 'ret' },
  videobuf2: { probe: '__buf_prepare%return ret=$retval:s32', key: 'ret' },
  release: { probe: 'vfio_pci_dma_buf_release', key: 'common_pid' },
  invalidate: { probe: 'dma_buf_invalidate_mappings', key: 'common_pid' },
  private_read: { probe: 'vfio_dma_buf_get_data%return ret=$retval:s64', key: 'ret' },
  bind: { probe: 'kvm_vfio_dmabuf_bind%return ret=$retval:s32', key: 'ret' },
};
const PRIVATE_ONLY = ['private_read', 'bind'];
/** Up to 7.0 the core's function had another name, and so has the lab's exporter of that time. */
const LEGACY = { invalidate: { probe: 'dma_buf_move_notify', key: 'common_pid' } };

/** Notes more calls of one outcome. */
const note = (testimony: OracleCounts, name: string, outcome: string, count: number): void => {
  const calls = testimony[name] ?? {};
  calls[outcome] = (calls[outcome] ?? 0) + count;
  testimony[name] = calls;
};

/** Calls of one function by outcome: `0`, `value` (a descriptor or pointer), `-22` for EINVAL. */
export type Calls = Record<string, number>;
/** Calls by function of the oracle, only those that were called. */
export type OracleCounts = Record<string, Calls>;

const TRACING = '/sys/kernel/tracing';

/** The script that sets the oracle up in a guest, on the functions that its dialect has. */
export const oracleScript = (dialect: GuestDialect): string => {
  const events = Object.entries({ ...EVENTS, ...(dialect === 'legacy' && LEGACY) }).filter(
    ([name]) => dialect.startsWith('private') || !PRIVATE_ONLY.includes(name),
  );
  const lines = events.flatMap(([name, { probe, key }]) => {
    return [
      `echo 'f:oracle/${name} ${probe}' >>${TRACING}/dynamic_events`,
      `echo 'hist:keys=${key}:size=16384' >${TRACING}/events/oracle/${name}/trigger`,
    ];
  });
  return ['set -e', ...lines].join('\n');
};

/** What the oracle has counted since it was placed. Rejects when its own table was full. */
export const hear = async (guest: Guest): Promise<OracleCounts> => {
  const { output } = await guest.run(`grep -rE '^{|Dropped: [1-9]' ${TRACING}/events/oracle --include=hist`);
  const testimony: OracleCounts = {};
  for (const found of output.split('\n')) {
    const [, name = '', line = ''] = /\/(\w+)\/hist:(.*)$/.exec(found) ?? [];
    const entry = /^\{ (\w+): *(\d+) *\} hitcount: *(\d+)/.exec(line);
    if (entry !== null) {
      const outcome = entry[1] === 'ret' ? outcomeOf(BigInt(entry[2] ?? '0')) : '0';
      note(testimony, name, outcome, Number(entry[3]));
    }
    if (/Dropped: [1-9]/.test(line)) throw new Error(`the oracle dropped calls of ${name}`);
  }
  return testimony;
};

/** `-N` for an errno, `0`, or `value` for what succeeded with a descriptor or a pointer (printed as unsigned). */
const outcomeOf = (value: bigint): string => {
  const signed = BigInt.asIntN(64, value);
  if (signed === 0n) return '0';
  return signed < 0n && signed > -4096n ? String(signed) : 'value';
};

/** What was called between two hearings. */
export const oracleSince = (before: OracleCounts, after: OracleCounts): OracleCounts => {
  const difference: OracleCounts = {};
  for (const [name, calls] of Object.entries(after)) {
    for (const [outcome, count] of Object.entries(calls)) {
      const grown = count - (before[name]?.[outcome] ?? 0);
      if (grown > 0) note(difference, name, outcome, grown);
    }
  }
  return difference;
};

/**
 * What the tracer counted and what the oracle saw must be the same; each difference is one line. Where the tracer itself told
 * of runs that the kernel has skipped, so many calls may be missing, and none may be counted twice.
 */
export const contradictions = (
  heard: OracleCounts,
  delta: Readonly<Record<string, number>>,
  skipped = 0,
): string[] => {
  const counted = (name: string, ...labels: string[]): number =>
    Object.entries(delta)
      .filter(
        ([key]) =>
          (key === name || key.startsWith(`${name}{`)) && labels.every((label) => key.includes(label)),
      )
      .reduce((sum, [, value]) => sum + value, 0);
  const failed = (calls: Calls = {}): number =>
    Object.entries(calls).reduce((sum, [outcome, count]) => sum + (outcome.startsWith('-') ? count : 0), 0);
  const claims: [what: string, counted: number, seen: number][] = [
    ['exports_total', counted('exports_total'), heard.export?.value ?? 0],
    ['export_rejections_total', counted('export_rejections_total'), failed(heard.export)],
    ['releases_total', counted('releases_total'), heard.release?.['0'] ?? 0],
    [
      'revocations_total + restorations_total',
      counted('revocations_total') + counted('restorations_total'),
      heard.invalidate?.['0'] ?? 0,
    ],
    ['private_data_reads_total', counted('private_data_reads_total'), heard.private_read?.value ?? 0],
    [
      'private_data_read_rejections_total',
      counted('private_data_read_rejections_total'),
      failed(heard.private_read),
    ],
    ['unmaps_total', counted('unmaps_total'), heard.unmap?.['0'] ?? 0],
  ];
  const imports = (stage: string, seen: number): void => {
    claims.push([`imports_total{stage="${stage}"}`, counted('imports_total', `stage="${stage}"`), seen]);
  };
  const rejections = (label: string, ...calls: (Calls | undefined)[]): void => {
    const seen = calls.reduce((sum, call) => sum + failed(call), 0);
    claims.push([`import_rejections_total{${label}}`, counted('import_rejections_total', label), seen]);
  };
  imports('attach', heard.attach?.['0'] ?? 0);
  imports('iommufd', heard.iommufd_map?.['0'] ?? 0);
  imports('bind', heard.bind?.['0'] ?? 0);
  imports('pin', heard.pin?.['0'] ?? 0);
  imports('map', heard.map?.value ?? 0);
  imports('rdma', heard.rdma?.value ?? 0);
  rejections('stage="bind"', heard.bind);
  // An attach that is rejected inside a bind counts as the bind's rejection, and only there.
  claims.push([
    'import_rejections_total{stage="attach"} and of binds of a revoked buffer',
    counted('import_rejections_total', 'stage="attach"') +
      counted('import_rejections_total', 'stage="bind"', 'reason="revoked"'),
    failed(heard.attach),
  ]);
  rejections('stage="pin"', heard.pin);
  rejections('stage="map"', heard.map);
  rejections('stage="vmap"', heard.vmap, heard.mmap);
  // Whichever layer rejects: one call that failed is one rejection of its importer.
  rejections('importer="iommufd"', heard.iommufd_file);
  rejections('importer="vivid"', heard.videobuf2);
  claims.push([
    'import_rejections_total of DRM',
    ...[
      counted('import_rejections_total', 'importer="vgem"') +
        counted('import_rejections_total', 'importer="lab_drm"'),
      failed(heard.prime),
    ],
  ] as [string, number, number]);
  return claims
    .filter(([, count, seen]) => count > seen || count < seen - skipped)
    .map(([what, count, seen]) => `${what}: the tracer counted ${count}, the oracle saw ${seen}`);
};
