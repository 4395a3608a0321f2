import { parseConditions } from '../../src/bpftrace/compiler/condition.ts';
import { CODE_CONSTANTS } from '../../src/bpftrace/compiler/constants.ts';
import { parseFragment } from '../../src/bpftrace/compiler/fragment.ts';
import type { FragmentSet } from '../../src/bpftrace/compiler/fragment-set.ts';

const HANDOVER = parseConditions(
  'handover: task_struct.sched_info, sched_info.last_arrival, task_struct.timer_slack_ns',
);

/** Two probes and a snapshot program that fit the fake host, and the probe `extra`, whose function is missing there. */
export function testFragments(snapshot = 'iter:dmabuf { snapshot }'): FragmentSet {
  const fragment = (name: string, body: string): ReturnType<typeof parseFragment> =>
    parseFragment(
      `probes/${name}.bt`,
      `// name: ${name}\n// hooks: kprobe\n// needs: -\n// emits: -\n// maps: -\n${body}\n`,
    );
  return {
    probes: [
      fragment('attach', 'kprobe:{{fn:vfio_pci_dma_buf_attach}} { attach }'),
      fragment('export', 'kprobe:{{fn:vfio_pci_core_feature_dma_buf}} { export }'),
      fragment('extra', 'kprobe:{{fn:extra_function}} { extra }'),
    ],
    oneshots: new Map([['snapshot', fragment('snapshot', snapshot)]]),
    snippets: new Map(),
    prelude: { constants: CODE_CONSTANTS, conditions: HANDOVER },
  };
}
