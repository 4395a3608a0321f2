/**
 * The numbers that the probes print, and their names in the API and the metrics. The composer writes the numbers into
 * the program, and the decoder maps them back to names. Both use this file, so they cannot disagree.
 */

/** The privacy that an export declares; `undeclared` if exports have no privacy in the kernel's dialect. */
export const PRIVACIES = ['undeclared', 'shared', 'private'] as const;
export type Privacy = (typeof PRIVACIES)[number];

/**
 * The stage of an import that succeeded or was rejected; index = number on the wire, 0 is never sent. attach, pin, map
 * and vmap are calls of the dma-buf core into the exporter. get_pfn is a fault of a guest. The other stages are calls of
 * the importer around them.
 */
export const STAGES = [
  'unknown',
  'attach',
  'map',
  'iommufd',
  'bind',
  'pin',
  'vmap',
  'rdma',
  'prime',
  'videobuf2',
  'devmem',
  'ioas_map',
  'get_pfn',
] as const;
export type Stage = (typeof STAGES)[number];

/** Why the memory of a device was revoked or restored: the caller of the kernel's revoke. */
export const CAUSES = [
  'unknown',
  'memory_enable',
  'reset',
  'flr',
  'hot_reset',
  'power_state',
  'runtime_pm',
  'device_close',
] as const;
export type Cause = (typeof CAUSES)[number];

/**
 * The route from an importing device to the memory that it has mapped. bus: requests stay within one device or PCIe
 * switch. host_bridge: they pass the root complex with physical addresses. iommu: the IOMMU translates them there.
 */
export const ROUTES = ['unknown', 'bus', 'host_bridge', 'iommu'] as const;
export type Route = (typeof ROUTES)[number];

/** The kernel code that read the private data of a buffer. */
export const READERS = ['other', 'kvm'] as const;
export type Reader = (typeof READERS)[number];

/** Policy violations: what the rules for private exports forbid, but KVM accepted or an importer tried. */
export const VIOLATIONS = [
  'none',
  'foreign_vm',
  'accepted_not_vfio',
  'private_without_vm',
  'private_offered',
] as const;
export type Violation = (typeof VIOLATIONS)[number];

/** Why the kernel rejected a call, as the probe deduces it from the call's arguments; index = number on the wire. */
export const REASONS = [
  'none',
  'other',
  'not_vfio',
  'not_private',
  'vm_mismatch',
  'no_vm',
  'size_mismatch',
  'no_peer_to_peer',
  'not_revocable',
  'revoked',
  'pin_rejected',
  'multiple_ranges',
  'foreign_exporter',
  'topology',
  'private_not_mappable',
  'no_ranges',
  'unknown_flags',
  'unaligned',
  'empty_range',
  'beyond_bar',
  'not_mappable_bar',
  'bad_argument',
  'bad_pointer',
  'bad_region',
  'device_closing',
  'driver_unsupported',
  'fd_limit',
  'no_memory',
  'overflow',
  'not_a_dmabuf',
  'beyond_buffer',
  'not_dynamic',
  'no_cpu_mapping',
  'interrupted',
  'importer_unsupported',
  'bar_unavailable',
  'bar_by_address',
  'bad_address',
  'no_attachment',
  'get_pfn_unsupported',
  'slot_flags',
  'rolled_back',
] as const;
export type Reason = (typeof REASONS)[number];

/** Kinds of VMs by number: KVM_X86_*_VM of x86. Kinds of other architectures stay numbers. */
export const VM_KINDS = ['default', 'sw_protected', 'sev', 'sev_es', 'snp', 'tdx'] as const;

/** What the probes print if the kernel does not keep the kind. */
export const UNKNOWN_VM_KIND = 255;

/** The most attachments of a buffer that the snapshot program counts. At this count there may be more. */
export const WALKED_ATTACHMENTS = 1024;

/** Histogram buckets of the kernel maps. Bucket b counts durations below 1024 * 4^b ns; the last one has no bound. */
export const DURATION_BUCKETS = 15;

/** Upper bounds in seconds of all buckets except the last, which is +Inf. */
export const DURATION_BOUNDS: readonly number[] = Array.from(
  { length: DURATION_BUCKETS - 1 },
  (_, bucket) => (1024 * 4 ** bucket) / 1e9,
);

/** Stages that lose counts, which makes counters too low. The other stages lose events, and the counters stay right. */
export const COUNT_LOSS_STAGES = ['probe_missed', 'map_full', 'handover'] as const;
export const LOSS_STAGES = ['splitter', 'queue', 'relay', ...COUNT_LOSS_STAGES] as const;

export function isCountLoss(stage: string): boolean {
  return (COUNT_LOSS_STAGES as readonly string[]).includes(stage);
}
