import type { Guest } from './guest.ts';

/**
 * The independent witness: ftrace's own probes (not BPF) on the functions that the tracer probes, counted in histograms by
 * return value. What it counts is compared with the metrics.
 */
const EVENTS: Readonly<Record<string, { probe: string; key: string }>> = {
  export: { probe: 'vfio_pci_core_feature_dma_buf%return ret=$retval:s32', key: 'ret' },
  attach: { probe: 'vfio_pci_dma_buf_attach%return ret=$retval:s32', key: 'ret' },
  iommufd_map: { probe: 'vfio_pci_dma_buf_iommufd_map%return ret=$retval:s32', key: 'ret' },
  release: { probe: 'vfio_pci_dma_buf_release', key: 'common_pid' },
  invalidate: { probe: 'dma_buf_invalidate_mappings', key: 'common_pid' },
  private_read: { probe: 'vfio_dma_buf_get_data%return ret=$retval:s64', key: 'ret' },
  bind: { probe: 'kvm_vfio_dmabuf_bind%return ret=$retval:s32', key: 'ret' },
};
const PRIVATE_ONLY = ['private_read', 'bind'];

/** Notes more calls of one outcome. */
const note = (testimony: Testimony, name: string, outcome: string, count: number): void => {
  const calls = testimony[name] ?? {};
  calls[outcome] = (calls[outcome] ?? 0) + count;
  testimony[name] = calls;
};

/** Calls of one function by outcome: `0`, `value` (a descriptor or pointer), `-22` for EINVAL. */
export type Calls = Record<string, number>;
/** Calls by function of the witness, only those that were called. */
export type Testimony = Record<string, Calls>;

const TRACING = '/sys/kernel/tracing';

/** Sets the witness up in a guest; `private` also watches the functions that only the private dialects have. */
export const placeWitness = async (guest: Guest, isPrivate: boolean): Promise<void> => {
  const names = Object.keys(EVENTS).filter((name) => isPrivate || !PRIVATE_ONLY.includes(name));
  const lines = names.flatMap((name) => {
    const { probe, key } = EVENTS[name] as { probe: string; key: string };
    return [
      `echo 'f:witness/${name} ${probe}' >>${TRACING}/dynamic_events`,
      `echo 'hist:keys=${key}:size=16384' >${TRACING}/events/witness/${name}/trigger`,
    ];
  });
  const { status, output } = await guest.run(['set -e', ...lines].join('\n'));
  if (status !== 0) throw new Error(`the witness cannot be placed: ${output}`);
};

/** What the witness has counted since it was placed. Rejects when its own table was full. */
export const hear = async (guest: Guest): Promise<Testimony> => {
  const { output } = await guest.run(
    `for hist in ${TRACING}/events/witness/*/hist; do echo "@ \${hist%/hist}"; cat "$hist"; done`,
  );
  const testimony: Testimony = {};
  let name = '';
  for (const line of output.split('\n')) {
    if (line.startsWith('@ ')) name = line.slice(line.lastIndexOf('/') + 1);
    const entry = /^\{ (\w+): *(\d+) *\} hitcount: *(\d+)/.exec(line);
    if (entry !== null) {
      const outcome = entry[1] === 'ret' ? outcomeOf(BigInt(entry[2] ?? '0')) : '0';
      note(testimony, name, outcome, Number(entry[3]));
    }
    if (/Dropped: [1-9]/.test(line)) throw new Error(`the witness dropped calls of ${name}`);
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
export const heardSince = (before: Testimony, after: Testimony): Testimony => {
  const difference: Testimony = {};
  for (const [name, calls] of Object.entries(after)) {
    for (const [outcome, count] of Object.entries(calls)) {
      const grown = count - (before[name]?.[outcome] ?? 0);
      if (grown > 0) note(difference, name, outcome, grown);
    }
  }
  return difference;
};

/** What the tracer counted and what the witness saw must be the same; each difference is one line. */
export const contradictions = (heard: Testimony, delta: Readonly<Record<string, number>>): string[] => {
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
    ['export_failures_total', counted('export_failures_total'), failed(heard.export)],
    ['releases_total', counted('releases_total'), heard.release?.['0'] ?? 0],
    [
      'revocations_total + restorations_total',
      counted('revocations_total') + counted('restorations_total'),
      heard.invalidate?.['0'] ?? 0,
    ],
    ['private_data_reads_total', counted('private_data_reads_total'), heard.private_read?.value ?? 0],
    [
      'private_data_read_failures_total',
      counted('private_data_read_failures_total'),
      failed(heard.private_read),
    ],
  ];
  for (const [stage, name] of [
    ['attach', 'attach'],
    ['iommufd', 'iommufd_map'],
    ['bind', 'bind'],
  ] as const) {
    const label = `stage="${stage}"`;
    claims.push([`imports_total{${label}}`, counted('imports_total', label), heard[name]?.['0'] ?? 0]);
    claims.push([
      `import_rejections_total{${label}}`,
      counted('import_rejections_total', label),
      failed(heard[name]),
    ]);
  }
  return claims
    .filter(([, count, seen]) => count !== seen)
    .map(([what, count, seen]) => `${what}: the tracer counted ${count}, the witness saw ${seen}`);
};
