import type { TracerModel } from '../model/model.ts';
import { byKey, type FamilySpec, infos, single } from './family.ts';

function probes(model: TracerModel): Record<string, number> {
  const attached: Record<string, number> = {};
  for (const state of model.status().probes) {
    attached[state.probe] = Math.min(attached[state.probe] ?? 1, state.attached ? 1 : 0);
  }
  return attached;
}

/** What the tracer says of itself: what it sees, what it has lost, since when it is blind. */
export const SELF_FAMILIES: readonly FamilySpec[] = [
  {
    name: 'up',
    help: '1 while a bpftrace child is tracing.',
    type: 'gauge',
    samples: (model) => single(model.accounting.state === 'tracing' ? 1 : 0),
  },
  {
    name: 'probe_attached',
    help:
      '1 where the probe is part of the last program composed for this kernel, 0 where the kernel has not what it ' +
      'needs, or where its module was unloaded or loaded and no program has taken over yet; up tells whether that program runs.',
    type: 'gauge',
    samples: (model) => byKey('probe', probes(model)),
  },
  {
    name: 'events_total',
    help: 'Events received from the probes. Counts of what happened in the kernel are the other families: they lose nothing.',
    type: 'counter',
    samples: (model) => byKey('kind', model.accounting.eventsByKind),
  },
  {
    name: 'events_lost_total',
    help:
      'Losses by stage: events that probes emitted and that were missing at two heartbeats in a row or when their ' +
      'bpftrace ended, less what the collector dropped (kernel_ring); lines that the collector dropped (splitter, queue); probe runs that the kernel ' +
      'skipped (probe_missed); counts without room in their map (map_full); calls in flight that were given up when one program took over from another (handover).',
    type: 'counter',
    samples: (model) => byKey('stage', model.accounting.losses),
  },
  {
    name: 'events_unaccounted',
    help:
      'Events that the probes had emitted at the last heartbeat and that had neither arrived by then nor been told as ' +
      'lost: on their way, or lost since the heartbeat before.',
    type: 'gauge',
    samples: (model) => single(model.accounting.eventsUnaccounted),
  },
  {
    name: 'counter_lines_lost_total',
    help:
      'Lines of reads of the kernel maps that were printed and missing at two reads in a row. The next read says them ' +
      'again, so counts are late and not wrong; last_counter_read_timestamp_seconds moves on with a whole read only.',
    type: 'counter',
    samples: (model) => single(model.accounting.counterLinesLost),
  },
  {
    name: 'host_read_errors_total',
    help:
      'Reads of /proc, /sys and the like that failed for another reason than that nothing is there, such as EMFILE. The last ' +
      'value is kept and the read is tried again.',
    type: 'counter',
    samples: (model) => byKey('source', model.accounting.hostErrors),
  },
  {
    name: 'facts_forgotten_total',
    help: 'Facts of devices, processes and VMs that made room for newer ones while they were still of use.',
    type: 'counter',
    samples: (model) => byKey('kind', model.forgotten),
  },
  {
    name: 'decode_errors_total',
    help: 'Lines of the stream that could not be decoded.',
    type: 'counter',
    samples: (model) => byKey('reason', model.accounting.decodeErrors),
  },
  {
    name: 'helper_errors_total',
    help: 'BPF helpers that failed and errors at run time that bpftrace reported.',
    type: 'counter',
    samples: (model) => single(model.accounting.helperErrors),
  },
  {
    name: 'loss_reports_total',
    help: 'Times that bpftrace reported lost events; how many it says is not to be trusted, events_lost_total tells.',
    type: 'counter',
    samples: (model) => single(model.accounting.lossReports),
  },
  {
    name: 'unknown_records_total',
    help: 'Lines of the stream that mean nothing to this version, such as plain text of bpftrace.',
    type: 'counter',
    samples: (model) => single(model.accounting.unknownRecords),
  },
  {
    name: 'blind_seconds_total',
    help:
      'Time in which nothing was traced: from the last heartbeat of a child that ended (from its start where it never ' +
      'beat; from the last look that found vfio_pci_core as before where its probes died with that), or from the line that ' +
      'none can run, to the next that is ready. The start of the first child does not count.',
    type: 'counter',
    samples: (model) => single(model.accounting.blindSeconds),
  },
  {
    name: 'probe_blind_seconds_total',
    help:
      'Time in which this probe was not attached while others were, though its module was there: from the last look before ' +
      'the module was loaded (there is one every 5 s) to the program that takes over, so rather too much than too little. A ' +
      'module that is away counts nothing: it cannot be called.',
    type: 'counter',
    samples: (model) => {
      const seconds = (probe: string) => [probe, model.accounting.probeBlindSeconds(probe)] as const;
      return byKey('probe', Object.fromEntries(Object.keys(probes(model)).map(seconds)));
    },
  },
  {
    name: 'collector_restarts_total',
    help: 'bpftrace children started in place of one that had ended, by why it ended.',
    type: 'counter',
    samples: (model) => byKey('reason', model.accounting.restarts),
  },
  {
    name: 'buffer_state_exact',
    help:
      '1 where the buffers were reconciled with the kernel (iter/dmabuf) after the last loss or gap, so that the ' +
      'gauges of buffers miss nothing.',
    type: 'gauge',
    samples: (model) => single(model.bufferStateExact ? 1 : 0),
  },
  {
    name: 'last_counter_read_timestamp_seconds',
    help: 'When the kernel maps were last read, in seconds since 1970; 0 before the first read.',
    type: 'gauge',
    samples: (model) => single(model.lastCounterReadSeconds),
  },
  {
    name: 'kernel_dialect_info',
    help: 'What the kernel can say of exports, told by vfio_dma_buf_get_data and vfio_pci_dma_buf_attach.',
    type: 'gauge',
    samples: (model) => {
      const { dialect, kernel, bpftrace } = model.status();
      return infos([{ dialect, kernel: kernel ?? '', bpftrace: bpftrace ?? '' }], 1);
    },
  },
  {
    name: 'source_info',
    help: 'Where the stream comes from: live or replay of a recording.',
    type: 'gauge',
    samples: (model) => infos([{ ...model.options.source }], 1),
  },
  {
    name: 'simulation_info',
    help: 'Faults that the collector makes itself (--simulate), so that alerts can be tried; absent where all is real.',
    type: 'gauge',
    samples: (model) => {
      const { simulation } = model.status();
      return simulation === null ? [] : infos([{ faults: simulation }], 1);
    },
  },
  {
    name: 'build_info',
    help: 'Version of this program.',
    type: 'gauge',
    samples: (model) => infos([{ version: model.options.version }], 1),
  },
];
