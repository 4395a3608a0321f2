import { type FragmentSet, parseFragment } from '../../src/bpftrace/compiler/fragment.ts';

/** Two probes and a snapshot program that fit the fake host, and the probe `extra`, whose function is missing there. */
export function testFragments(snapshot = 'iter:dmabuf { snapshot }'): FragmentSet {
  const fragment = (name: string, body: string): ReturnType<typeof parseFragment> =>
    parseFragment(`probes/${name}.bt`, `// name: ${name}\n// hooks: kprobe\n// needs: -\n${body}\n`);
  return {
    probes: [
      fragment('attach', 'kprobe:{{fn:vfio_pci_dma_buf_attach}} { attach }'),
      fragment('export', 'kprobe:{{fn:vfio_pci_core_feature_dma_buf}} { export }'),
      fragment('extra', 'kprobe:{{fn:extra_function}} { extra }'),
    ],
    oneshots: new Map([['snapshot', fragment('snapshot', snapshot)]]),
    snippets: new Map(),
  };
}
