import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { markdownTable } from '../../tools/markdown-table.ts';
import { CELLS, type Cell, nameOf } from './cells.ts';
import type { Outcome } from './groups.ts';
import { explainUnmet, SCENARIOS } from './truth-table.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const RESULTS = join(DOCS, 'kernels.json');
const PAGE = join(DOCS, 'kernels.md');

/** Result of the truth table on one cell. It has no time of day, so that an unchanged result is the same text. */
export interface CellResult extends Cell {
  release: string;
  bpftrace: string;
  passed: number;
  failed: string[];
  /** Number of scenarios that cannot run on the cell, by reason. */
  notApplicable: Record<string, number>;
}

export function resultOf({ cell, release, bpftrace, passed, failed }: Outcome): CellResult {
  const notApplicable: Record<string, number> = {};
  for (const scenario of SCENARIOS) {
    const why = explainUnmet(scenario, cell);
    if (why !== undefined) notApplicable[why] = (notApplicable[why] ?? 0) + 1;
  }
  const isRow = (name: string): boolean => !/^(start|boot) \(/.test(name);
  return { ...cell, release, bpftrace, passed: passed.filter(isRow).length, failed, notApplicable };
}

function readResults(): CellResult[] {
  return JSON.parse(readFileSync(RESULTS, 'utf8')) as CellResult[];
}

/** Replaces the stored results of some cells and rewrites the page. */
export function keepResults(fresh: readonly CellResult[]): void {
  const known = new Map([...readResults(), ...fresh].map((result) => [nameOf(result), result]));
  const results = CELLS.flatMap((cell) => known.get(nameOf(cell)) ?? []);
  writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(PAGE, pageOf(results));
}

/** The text of docs/kernels.md. */
export function pageOf(results: readonly CellResult[]): string {
  const rows = results.map(({ release, bpftrace, dialect, passed, failed, notApplicable }) => {
    const others = Object.entries(notApplicable).map(([why, count]) => `${count}: ${why}`);
    return [
      release,
      bpftrace,
      `\`${dialect}\``,
      String(passed),
      failed.length === 0 ? '0' : `${failed.length}: ${failed.join(', ')}`,
      others.join('; ') || '-',
    ];
  });
  const cells = markdownTable([
    ['kernel', 'bpftrace', 'dialect', 'passed', 'failed', 'not applicable'],
    ...rows,
  ]);
  const cause = results.some(({ failed }) => failed.length > 0) ? FAILED : '';
  return [
    ABOVE,
    cells,
    cause + BELOW,
    markdownTable(DIALECTS),
    SWITCHES_ABOVE,
    markdownTable(SWITCHES),
    END,
  ].join('\n');
}

const ABOVE = `# Kernels

The lab tries every kernel whose modules Debian provides, with the bpftrace of Debian 13 and with
that of sid. A cell of the table is one combination of kernel, bpftrace and dialect, and runs in its
own guests. The lab runs every scenario (\`lab/src/scenarios/\`) that is possible on the cell. It
compares each event and metric with what the scenario expects, and the metrics with the kernel's own
tracing. A cell that is not in the table has not been tried.

\`npm run lab -- matrix --cell KERNEL/USERSPACE[/DIALECT]\` tries cells, stores the results in
\`kernels.json\`, and writes this page.
`;

const FAILED = 'The cause of a failed scenario is not known yet.\n\n';

const BELOW = `The arm64 guests run in emulation on QEMU's board \`virt\` with SMMUv3. They have the same scenarios,
workloads and modules, built with a cross compiler, and the bpftrace of Debian 13. A VM in such a
guest owns its device as on x86. Scenarios that mark a VM as confidential need kvm_amd, so arm64
does not have them. Sizes in scenarios are multiples of the kernel's page: 16 KiB on \`arm64-16k\`.
Only \`matrix\` runs these cells.

6.12 is the kernel of Debian 13 and cannot export VFIO memory. Its only check is how the daemon
reports that: it is not ready, prints the fix, reports the dialect \`core\`, and leaves out the
metrics of exports and imports instead of serving zeros.

## Which parts are real
`;

const DIALECTS = [
  ['dialect', 'vfio-pci-core', 'what is real'],
  ['`mainline`', "the distribution's binary", 'everything'],
  [
    '`cdev`',
    "the distribution's source, built with VFIO's device files and iommufd",
    'everything; `vfio` and `vfio-pci` are built in the same way',
  ],
  [
    '`legacy`',
    "the distribution's source, with the lab's changes",
    "devices, exports, imports, revocations; the differences of 6.19 and 7.0 are the lab's code",
  ],
  [
    '`private-v1`, `private-v2`, `private-amd`',
    "the distribution's source, with lines added by the lab",
    'devices, exports, revocations; see [lab/modules](../lab/modules/README.md)',
  ],
];

const SWITCHES_ABOVE = `For 6.19 to 7.1 the archive has images without modules, so these kernels cannot boot. The lab builds
the exporter of a newer kernel with the behavior of 6.19 and 7.0, and tries it as \`legacy\`:
`;

const SWITCHES = [
  ['behavior of 6.19 and 7.0', 'in the lab'],
  ['attach accepts importers whose mappings cannot be revoked', 'reproduced: the check is removed'],
  [
    'a pin is rejected with EOPNOTSUPP (`vfio_pci_dma_buf_pin`)',
    'reproduced: the exporter has a pin operation that rejects',
  ],
  [
    'a revocation does not wait until importers have unmapped',
    'reproduced: it does not wait; `struct vfio_pci_dma_buf` has neither `kref` nor `comp`',
  ],
  [
    'the close of a device revokes its buffers without `vfio_pci_dma_buf_move`, and notifies importers of revoked buffers again',
    "reproduced: the lab's `vfio_pci_dma_buf_cleanup`",
  ],
  [
    'the dma-buf core notifies importers with `dma_buf_move_notify`',
    'in part: the exporter module of the lab has its own `dma_buf_move_notify`, and the probe is attached there',
  ],
  ['iommufd maps without a pin', "reproduced: the lab's iommufd of this dialect does not pin"],
  [
    '`move_notify` in `struct dma_buf_attach_ops`',
    'not reproduced: the running core calls it `invalidate_mappings`',
  ],
  [
    'without CONFIG_DMABUF_MOVE_NOTIFY the dma-buf core itself pins for a dynamic importer',
    'not reproduced: the lab does not change the dma-buf core',
  ],
];

const END =
  '7.1 behaves as 7.2 in all of this. One exception: in its first versions the close of a device still revoked the buffers without `vfio_pci_dma_buf_move`. 7.1 cannot boot here, so this is known from its source only.\n';
