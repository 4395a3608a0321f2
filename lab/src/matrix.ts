import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { markdownTable } from '../../tools/markdown-table.ts';
import { CELLS, type Cell, nameOf } from './cells.ts';
import type { Outcome } from './groups.ts';
import { explainUnmet, SCENARIOS } from './truth-table.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const RESULTS = join(DOCS, 'kernels.json');
const PAGE = join(DOCS, 'kernels.md');

/** How the truth table ended on one cell; no time of day, so that the same result is the same text. */
export interface CellResult extends Cell {
  release: string;
  bpftrace: string;
  passed: number;
  failed: string[];
  /** Rows of the truth table that the cell cannot be asked, by why. */
  notApplicable: Record<string, number>;
}

export const resultOf = ({ cell, release, bpftrace, passed, failed }: Outcome): CellResult => {
  const notApplicable: Record<string, number> = {};
  for (const scenario of SCENARIOS) {
    const why = explainUnmet(scenario, cell);
    if (why !== undefined) notApplicable[why] = (notApplicable[why] ?? 0) + 1;
  }
  const isRow = (name: string): boolean => !/^(start|boot) \(/.test(name);
  return { ...cell, release, bpftrace, passed: passed.filter(isRow).length, failed, notApplicable };
};

const readResults = (): CellResult[] => JSON.parse(readFileSync(RESULTS, 'utf8')) as CellResult[];

/** Puts the results of some cells in the place of what was known of them, and writes the page anew. */
export const keepResults = (fresh: readonly CellResult[]): void => {
  const known = new Map([...readResults(), ...fresh].map((result) => [nameOf(result), result]));
  const results = CELLS.flatMap((cell) => known.get(nameOf(cell)) ?? []);
  writeFileSync(RESULTS, `${JSON.stringify(results, null, 2)}\n`);
  writeFileSync(PAGE, pageOf(results));
};

/** docs/kernels.md from the results. */
export const pageOf = (results: readonly CellResult[]): string => {
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
  return [ABOVE, cells, BELOW, markdownTable(DIALECTS), SWITCHES_ABOVE, markdownTable(SWITCHES), END].join(
    '\n',
  );
};

const ABOVE = `# Kernels

What the lab has tried: every kernel that Debian carries with its modules, with the bpftrace of Debian 13 and with that of
sid. Each cell is a guest of its own, in which every row of the truth table (\`lab/src/scenarios/\`) that the cell can be
asked is made to happen and compared, event by event and metric by metric, with what the row demands and with what the
kernel's own tracing has seen. \`npm run lab -- matrix --cell KERNEL/USERSPACE[/DIALECT]\` tries a cell and writes this page
from the results in \`kernels.json\`; a cell that is not in the table has not been tried.
`;

const BELOW = `The arm64 guests run on QEMU's board \`virt\` with SMMUv3, emulated. They have the same scenarios, workloads and modules,
built with a cross compiler, and the bpftrace of Debian 13. A VM in such a guest owns its device as on x86. Rows that mark a VM as
confidential need kvm_amd, so arm64 does not have them. The sizes of a scenario are as many pages of the kernel: 16 KiB each on
\`arm64-16k\`. Only \`matrix\` runs these cells.

6.12 is Debian 13's own kernel and cannot export VFIO memory: its one row is that the daemon says so. It is not ready, names
the remedy, calls the dialect \`core\`, and has none of the metrics of the model, rather than zeros.

## What comes from where
`;

const DIALECTS = [
  ['dialect', 'vfio-pci-core', 'what is real'],
  ['`mainline`', "the distribution's binary", 'everything'],
  [
    '`legacy`',
    "the distribution's source, with build switches",
    'devices, exports, imports, revokes; what differs is switched in',
  ],
  [
    '`private-v1`, `private-v2`, `private-amd`',
    "the distribution's source, with the lab's lines",
    'devices, exports, revokes; see [lab/modules](../lab/modules/README.md)',
  ],
];

const SWITCHES_ABOVE = `Of 6.19 to 7.1 the archive has images without their modules, so these kernels cannot be booted. What differs in 6.19 and 7.0
is switched into the exporter rebuilt for a newer kernel, and tried there as \`legacy\`:
`;

const SWITCHES = [
  ['fact of 6.19 and 7.0', 'in the lab'],
  ['attach lets in importers that cannot give their mapping back', 'switched: the check is taken out'],
  [
    'a pin is rejected with EOPNOTSUPP (`vfio_pci_dma_buf_pin`)',
    'switched: the operation is there and rejects',
  ],
  [
    'a revoke does not wait for importers to unmap',
    'switched: nothing is waited for; `struct vfio_pci_dma_buf` has no `kref` and no `comp`',
  ],
  [
    'the close of a device takes its buffers away without `vfio_pci_dma_buf_move`, and tells their importers even where they are revoked',
    'switched: `vfio_pci_dma_buf_cleanup` of the lab',
  ],
  [
    'the core tells importers by `dma_buf_move_notify`',
    "in part: the exporter brings a function of that name that does the core's work, so the probe is in another module",
  ],
  ['iommufd maps without a pin', "switched: the lab's iommufd of this dialect does not pin"],
  [
    '`move_notify` in `struct dma_buf_attach_ops`',
    'not reproduced: the running core calls it `invalidate_mappings`',
  ],
  [
    'the core itself pins for a dynamic importer, without CONFIG_DMABUF_MOVE_NOTIFY',
    "not reproduced: that is the running core's code",
  ],
];

const END =
  '7.1 does all of this as 7.2 does, except that at first its close of a device still took the buffers away by itself; it could not be booted, so that is read and not tried.\n';
