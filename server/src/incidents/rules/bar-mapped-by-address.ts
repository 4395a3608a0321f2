import { processName } from '../../contract/names.ts';
import type { TupleOf } from '../../protocol/tuples.ts';
import { repetition, vmText } from '../names.ts';
import { closeIfOver, type IncidentRule } from '../rule.ts';

type Import = TupleOf<'import'>['data'];

/** The process that iommufd has rejected. */
type Mapper = Pick<Import, 'pid' | 'comm'>;

export const barMappedByAddress: IncidentRule<Mapper> = {
  probes: ['ioas_map'],
  confirmedBySnapshot: false,
  runbook: 'VfioDmabufBarMappedByAddress',
  opens:
    'a process asked iommufd to map a BAR by its user-space address (EFAULT, reason `bar_by_address`), and no importer ' +
    'has attached an export of that device by this process; one incident for each process and device',
  closes: 'the process maps a dma-buf of that device into iommufd, or ends',
  remedy:
    'The VM has no device-to-device DMA to that BAR. If it needs that DMA, use a VMM that exports its BARs; otherwise turn it off in the VMM.',

  severity: () => 'warning',
  problem({ count, details }, { device, vm }) {
    const who = vm === null ? `Process ${processName(details)}` : `${vmText(vm)} (pid ${details.pid})`;
    return (
      `${who} asked iommufd to map a BAR of ${device} by its address${repetition(count)}: ` +
      'the kernel cannot do this, so other devices cannot reach the BAR'
    );
  },

  detector: ({ buffers, processes, find, open, close }) => ({
    event({ type, data }) {
      if (type !== 'import' || data.device === 0) return;
      const { t, pid, comm, device } = data;
      const subject = `${pid}\n${device}`;
      const known = find(subject);
      if (data.stage === 'iommufd' && data.errno === 0) {
        if (known !== undefined && t >= known.since) close(known, t, 'mapped_as_dmabuf');
      }
      if (data.reason !== 'bar_by_address') return;
      if (known !== undefined) {
        known.count += 1;
        return;
      }
      // The VMM uses the dma-buf path. QEMU tries the address for a BAR smaller than a page, which cannot be exported.
      for (const buffer of buffers.alive())
        if (buffer.device === device && buffer.imported && buffer.owner?.pid === pid) return;
      const vm = processes.at(pid, t);
      const details = { pid, comm };
      const incident = open({ subject, since: t, openedAt: t, device, vm, vmBy: 'task', details });
      if (incident !== null) closeIfOver({ close }, incident, vm);
    },
  }),
};
