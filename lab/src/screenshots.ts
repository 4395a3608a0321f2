import { join } from 'node:path';
import { USUAL_KERNEL } from './cells.ts';
import { Lab } from './lab.ts';
import { START_QEMU } from './real-qemu.ts';
import { CAPABLE, PLAIN } from './scenarios/names.ts';
import { run } from './shell.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

/** Sessions that share memory in several ways, and keep it shared until the screenshots are done. */
const SESSIONS: readonly { name: string; steps: readonly string[] }[] = [
  {
    name: 'private',
    steps: [
      'vm=a',
      `device=${PLAIN},vm=a`,
      'export=2,0:65536',
      'bind=0,vm=a',
      'vgem=0',
      'attach=0,p2p,invalidate',
    ],
  },
  {
    name: 'shared',
    steps: [
      `device=${CAPABLE}`,
      'export=4,0:16384',
      'iommufd=0',
      'vgem=0',
      'export=4,0:4096,8192:4096',
      'iommufd=1',
      'memory=off',
      'sleep=1',
      'memory=on',
    ],
  },
];

/** Boots a guest with a VM of real QEMU and sessions, and writes the screenshots of its page to docs/images. */
export async function screenshots(log: (line: string) => void): Promise<number> {
  const lab = await Lab.tracing({ suite: 'trixie', kernel: USUAL_KERNEL, dialect: 'private-v1', log });
  try {
    await lab.command(`echo ${PLAIN} >/sys/module/vfio_pci_core/parameters/private_devices`);
    await lab.command(START_QEMU);
    for (const { name, steps } of SESSIONS)
      await lab.background(name, ...steps, `touch=/tmp/shared-${name}`, 'wait=/tmp/screenshots-done');
    await lab.command(
      SESSIONS.map(({ name }) => `while [ ! -e /tmp/shared-${name} ]; do sleep 0.2; done`).join('\n'),
    );
    await lab.settle();
    const args = ['--import', 'tsx', 'tools/screenshots.ts', `--url=${lab.url}`, '--reason=no_peer_to_peer'];
    await run(process.execPath, args, { cwd: REPOSITORY, onLine: log });
    return 0;
  } finally {
    await lab.close();
  }
}
