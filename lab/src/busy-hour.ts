import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { USUAL_KERNEL } from './cells.ts';
import { PASS } from './demo.ts';
import { keepMetrics, RECORDINGS } from './groups.ts';
import { Lab } from './lab.ts';
import { PLAIN } from './scenarios/names.ts';

const NAME = 'busy-hour.ndjson.gz';
const FLOOD = `/lab/bin/flood --device ${PLAIN} --region 2 --exports 1500 --refused 500 --vgem 200 --threads 2`;

/** What happens once, by the minute at which it does. */
const ONCE: Readonly<Record<number, { title: string; script: string }>> = {
  30: { title: 'iommufd is unloaded', script: 'rmmod iommufd || true' },
  34: {
    title: 'iommufd is loaded again',
    script: 'modprobe iommufd 2>/dev/null || insmod /lab/modules/iommufd.ko',
  },
  42: { title: 'bpftrace is killed', script: 'pkill -KILL -x bpftrace' },
};

/**
 * Records a host at work for so many minutes: sessions without a pause, a flood every five minutes, a module
 * that goes and comes, a child that is killed. The recording proves that an hour of a host replays to the same bytes.
 */
export const busyHour = async (minutes: number, log: (line: string) => void): Promise<number> => {
  if (!Number.isInteger(minutes) || minutes < 1) throw new Error('--minutes: a whole number from 1');
  const lab = await Lab.open({ suite: 'trixie', kernel: USUAL_KERNEL, dialect: 'private-v1', log });
  try {
    await lab.startDaemon();
    await lab.command(`echo ${PLAIN} >/sys/module/vfio_pci_core/parameters/private_devices`);
    const begun = Date.now();
    const minute = (): number => Math.floor((Date.now() - begun) / 60_000);
    let told = -1;
    for (let pass = 0; minute() < minutes; pass += 1) {
      for (; told < minute(); told += 1) {
        const once = ONCE[told + 1];
        if (once !== undefined) {
          log(`minute ${told + 1}: ${once.title}`);
          await lab.command(once.script);
        }
        if ((told + 1) % 5 === 4) log(`minute ${told + 1}: ${(await lab.command(FLOOD)).trim()}`);
      }
      // While iommufd is away a session that wants it ends with 3.
      const steps = PASS[pass % PASS.length]?.steps ?? [];
      await lab.command(`/lab/bin/session ${steps.map((step) => `'${step}'`).join(' ')} || [ $? = 3 ]`);
      await sleep(2000);
    }
    await lab.recorded(await lab.settle());
    await lab.stopDaemon();
    const stream = readFileSync(join(lab.stage.out, 'stream.ndjson'));
    writeFileSync(join(RECORDINGS, NAME), gzipSync(stream, { level: 9 }));
    await keepMetrics(NAME);
    log(`${NAME}: ${stream.length} bytes of ${minutes} minutes`);
    return 0;
  } finally {
    await lab.close();
  }
};
