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

/**
 * Records a host at work for so many minutes: sessions without a pause, a flood every five minutes. The recording proves that
 * an hour of a host replays to the same bytes.
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
        if ((told + 1) % 5 === 4) log(`minute ${told + 1}: ${(await lab.command(FLOOD)).trim()}`);
      }
      await lab.session(...(PASS[pass % PASS.length]?.steps ?? []));
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
