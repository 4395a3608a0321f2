import { type ProbeFacts, wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import type { FragmentSet } from '../../src/bpftrace/compiler/fragment-set.ts';

/** A host with everything that the fragments may need. */
export function everythingOf(fragments: FragmentSet): ProbeFacts {
  const wanted = wantedBy(fragments);
  return {
    functions: Object.fromEntries(wanted.functions.map((name) => [name, 'vfio_pci_core'])),
    untraceable: [],
    members: Object.fromEntries(wanted.members.map((path) => [path, 0])),
    pageBytes: 4096,
    modules: ['kvm_amd'],
    bpftraceVersion: [0, 27, 1],
  };
}
