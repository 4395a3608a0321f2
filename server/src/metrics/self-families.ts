import { isCountLoss } from '../protocol/codes.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import { byKey, type FamilySpec, infos, single } from './family.ts';

function probes(model: TracerModel): Record<string, number> {
  const attached: Record<string, number> = {};
  for (const state of model.status().probes) {
    attached[state.probe] = Math.min(attached[state.probe] ?? 1, state.attached ? 1 : 0);
  }
  return attached;
}

/** Losses of events, or of counts, by stage. */
function lossesOf(model: TracerModel, what: 'events' | 'counts'): Record<string, number> {
  const losses = Object.entries(model.accounting.losses);
  return Object.fromEntries(losses.filter(([stage]) => isCountLoss(stage) === (what === 'counts')));
}

/** State of the tracer: attached probes, losses, and blind time. */
export const SELF_FAMILIES: readonly FamilySpec[] = [
  {
    name: 'up',
    help: '1 while a bpftrace child traces.',
    type: 'gauge',
    samples: (model) => single(model.accounting.state === 'tracing' ? 1 : 0),
  },
  {
    name: 'probe_attached',
    help: '1 where the probe is part of the running program.',
    details:
      '0 if the kernel lacks a function of the probe, or if its module was loaded or unloaded and no new program has taken over yet. up is 0 if no program runs.',
    type: 'gauge',
    samples: (model) => byKey('probe', probes(model)),
  },
  {
    name: 'events_total',
    help: 'Events received from the probes.',
    details: 'Events can be lost. Counters from kernel maps, such as exports_total, do not depend on them.',
    type: 'counter',
    samples: (model) => byKey('kind', model.accounting.eventsByKind),
  },
  {
    name: 'events_lost_total',
    help: 'Events that were lost on the way from a probe, by the stage that lost them.',
    details:
      'Counters from kernel maps stay correct. kernel_ring: printed by a probe, and missing at two heartbeats in a row or at the end of bpftrace. splitter, queue: dropped by the collector. relay: dropped because this server read too slowly.',
    type: 'counter',
    samples: (model) => byKey('stage', lossesOf(model, 'events')),
  },
  {
    name: 'counts_lost_total',
    help: 'Calls that no counter has counted, by the stage that lost them.',
    details:
      'After it has grown, the totals of the counters are lower bounds. probe_missed: runs of probes that the kernel skipped. map_full: keys for ' +
      'which a kernel map has no room. handover: calls in flight when one program took over from another.',
    type: 'counter',
    samples: (model) => byKey('stage', lossesOf(model, 'counts')),
  },
  {
    name: 'events_unaccounted',
    help: 'Events that were printed before the last heartbeat and are neither received nor counted as lost.',
    details: 'They are still in transit, or were lost since the previous heartbeat.',
    type: 'gauge',
    samples: (model) => single(model.accounting.eventsUnaccounted),
  },
  {
    name: 'map_lines_lost_total',
    help: 'Lines of kernel map reads that were lost.',
    details:
      'The next read repeats them, so counts are late but not wrong. Only a complete read updates last_map_read_timestamp_seconds.',
    type: 'counter',
    samples: (model) => single(model.accounting.counterLinesLost),
  },
  {
    name: 'host_read_errors_total',
    help: 'Failed reads of /proc, /sys and other files of the host.',
    details:
      'A file that does not exist is not a failure. After a failure such as EMFILE the last value is kept, and the read is retried.',
    type: 'counter',
    samples: (model) => byKey('source', model.accounting.hostErrors),
  },
  {
    name: 'facts_evicted_total',
    help: 'Facts of devices, processes and VMs that were evicted while they were in use.',
    type: 'counter',
    samples: (model) => byKey('kind', model.evicted),
  },
  {
    name: 'decode_errors_total',
    help: 'Lines of the stream that could not be decoded.',
    type: 'counter',
    samples: (model) => byKey('reason', model.accounting.decodeErrors),
  },
  {
    name: 'helper_errors_total',
    help: 'Failed BPF helpers and runtime errors that bpftrace reported.',
    type: 'counter',
    samples: (model) => single(model.accounting.helperErrors),
  },
  {
    name: 'loss_reports_total',
    help: 'Reports of lost events by bpftrace.',
    details: 'The number in such a report is not reliable. events_lost_total has the exact one.',
    type: 'counter',
    samples: (model) => single(model.accounting.lossReports),
  },
  {
    name: 'unknown_records_total',
    help: 'Lines of the stream that this version does not know, such as plain text of bpftrace.',
    type: 'counter',
    samples: (model) => single(model.accounting.unknownRecords),
  },
  {
    name: 'blind_seconds_total',
    help: 'Seconds in which nothing was traced.',
    details:
      'From the last heartbeat of a child that ended to the next child that is ready. A child without a heartbeat counts from its start. If its probes ended with vfio_pci_core, the time begins at the last check that found the module unchanged. The start of the first child does not count.',
    type: 'counter',
    samples: (model) => single(model.accounting.blindSeconds),
  },
  {
    name: 'probe_blind_seconds_total',
    help: 'Seconds in which this probe was not attached although its module was loaded.',
    details:
      'From the last check before the module was loaded (every 5 s) to the program that takes over: an upper bound. A module that is not loaded cannot be called, so that time does not count.',
    type: 'counter',
    samples: (model) => {
      const seconds = (probe: string) => [probe, model.accounting.probeBlindSeconds(probe)] as const;
      return byKey('probe', Object.fromEntries(Object.keys(probes(model)).map(seconds)));
    },
  },
  {
    name: 'collector_restarts_total',
    help: 'bpftrace children that replaced one that had ended, by the reason of the end.',
    type: 'counter',
    samples: (model) => byKey('reason', model.accounting.restarts),
  },
  {
    name: 'buffer_state_exact',
    help: '1 where a snapshot has confirmed all buffers since the last loss or blind time.',
    details:
      'The gauges of buffers are exact then (iter/dmabuf). It stays 0 on a kernel that cannot list its dma-bufs.',
    type: 'gauge',
    samples: (model) => single(model.bufferStateExact ? 1 : 0),
  },
  {
    name: 'last_map_read_timestamp_seconds',
    help: 'Time of the last complete read of the kernel maps, in seconds since 1970; 0 before the first.',
    type: 'gauge',
    samples: (model) => single(model.lastCounterReadSeconds),
  },
  {
    name: 'kernel_dialect_info',
    help: 'The dialect of the kernel, with its version and that of bpftrace.',
    details: 'The dialect follows from the functions and fields that the kernel has.',
    type: 'gauge',
    samples: (model) => {
      const { dialect, kernel, bpftrace } = model.status();
      return infos([{ dialect, kernel: kernel ?? '', bpftrace: bpftrace ?? '' }], 1);
    },
  },
  {
    name: 'source_info',
    help: 'Where the stream comes from: live, or a recording that is replayed.',
    type: 'gauge',
    samples: (model) => infos([{ ...model.options.source }], 1),
  },
  {
    name: 'simulation_info',
    help: 'Faults that the collector simulates (--simulate).',
    details: 'Absent if nothing is simulated.',
    type: 'gauge',
    samples: (model) => {
      const { simulation } = model.status();
      return simulation === null ? [] : infos([{ faults: simulation }], 1);
    },
  },
  {
    name: 'recording_lines_dropped_total',
    help: 'Lines of the stream that are missing in the recording because its file was too slow or could not be written.',
    details: 'Absent if nothing is recorded.',
    type: 'counter',
    samples: ({ recording }) => (recording === null ? [] : single(recording.lines_dropped)),
  },
  {
    name: 'recording_up',
    help: '1 while the recording is written, 0 after a write failed, for example because the disk is full: then it has ended.',
    details: 'Absent if nothing is recorded.',
    type: 'gauge',
    samples: ({ recording }) => (recording === null ? [] : single(recording.up ? 1 : 0)),
  },
  {
    name: 'build_info',
    help: 'Version of this program.',
    type: 'gauge',
    samples: (model) => infos([{ version: model.options.version }], 1),
  },
];
