import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { USUAL_KERNEL } from './cells.ts';
import { PASS } from './demo.ts';
import { keepMetrics, RECORDINGS } from './groups.ts';
import { Lab } from './lab.ts';
import { PLAIN } from './scenarios/names.ts';
import { sessionOf } from './session.ts';

const NAME = 'busy-hour.ndjson.gz';
const FLOOD = `/lab/bin/flood --device ${PLAIN} --region 2 --exports 1500 --rejected 500 --vgem 200 --threads 2`;
/** Time limit of the load, in seconds of this machine. */
const LIMIT_SECONDS = 7200;

/**
 * Shell script that runs the demo's sessions in turn, with a flood after every 100 sessions, for this many guest
 * minutes.
 */
function load(minutes: number): string {
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
}

/**
 * Records a busy host for this many minutes of guest time. The tests use the recording to show that an hour of a host
 * replays to the same bytes. Guest time passes faster than time on this machine.
 */
export async function busyHour(minutes: number, log: (line: string) => void): Promise<number> {
  if (!Number.isInteger(minutes) || minutes < 1)
    throw new Error('--minutes: must be a whole number, 1 or more');
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
    log(`starting ${minutes} minutes of guest time`);
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
}
