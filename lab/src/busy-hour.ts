import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { USUAL_KERNEL } from './cells.ts';
import { PASS } from './demo.ts';
import { keepMetrics, RECORDINGS } from './groups.ts';
import { Lab, sessionOf } from './lab.ts';
import { PLAIN } from './scenarios/names.ts';

const NAME = 'busy-hour.ndjson.gz';
const FLOOD = `/lab/bin/flood --device ${PLAIN} --region 2 --exports 1500 --rejected 500 --vgem 200 --threads 2`;
/** Longest time that it may take here. */
const LIMIT_SECONDS = 7200;

/** A session of each kind in turn, without a pause that is worth the name, and a flood now and then, for so many minutes. */
const load = (minutes: number): string => {
  const sessions = PASS.map(({ steps }, index) => `${index}) ${sessionOf(steps)} ;;`);
  return `now() { cut -d. -f1 /proc/uptime; }
    pass=0; end=$(($(now) + ${minutes * 60}))
    while [ $(now) -lt $end ]; do
      case $((pass % ${PASS.length})) in
        ${sessions.join('\n        ')}
      esac >/dev/null || exit
      [ $((pass % 100)) != 99 ] || ${FLOOD} >/dev/null || exit
      pass=$((pass + 1)); sleep 2
    done
    echo "$pass sessions"`;
};

/**
 * Records a host at work for so many minutes: the recording proves that an hour of a host replays to the same bytes. The time of
 * the guest passes faster than here.
 */
export const busyHour = async (minutes: number, log: (line: string) => void): Promise<number> => {
  if (!Number.isInteger(minutes) || minutes < 1) throw new Error('--minutes: a whole number from 1');
  const lab = await Lab.open({
    suite: 'trixie',
    kernel: USUAL_KERNEL,
    dialect: 'private-v1',
    skipsIdle: true,
    log,
  });
  try {
    await lab.startDaemon(1200);
    await lab.command(`echo ${PLAIN} >/sys/module/vfio_pci_core/parameters/private_devices`);
    log(`${minutes} minutes of the guest begin`);
    log((await lab.command(load(minutes), LIMIT_SECONDS)).trim());
    await lab.settle();
    const stream = Buffer.from(`${lab.stream().slice(0, lab.linesRead()).join('\n')}\n`);
    writeFileSync(join(RECORDINGS, NAME), gzipSync(stream, { level: 9 }));
    await keepMetrics(NAME);
    log(`${NAME}: ${stream.length} bytes`);
    return 0;
  } finally {
    await lab.close();
  }
};
