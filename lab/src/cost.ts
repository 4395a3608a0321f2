import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { USUAL_KERNEL } from './cells.ts';
import { versionsOf } from './groups.ts';
import { Lab } from './lab.ts';
import { INSTRUCTION_NS } from './machine.ts';
import { stopOracleScript, TRACING } from './oracle.ts';
import { RESETTABLE } from './scenarios/names.ts';

const FILE = join(import.meta.dirname, '../../docs/performance.json');

/** Results of one run: what docs/performance.md shows. */
export interface Costs {
  kernel: string;
  bpftrace: string;
  /** Instructions of the calling process for one call, by tracer and call. */
  calls: Record<string, Record<string, number>>;
  /** Millions of instructions from the start of the collector until it traces, by program. */
  start: Record<string, number>;
}

/** The calls that the program `flood` repeats. */
const CALLS: readonly { name: string; option: string }[] = [
  { name: 'export and close', option: '--exports' },
  { name: 'rejected export', option: '--rejected' },
  { name: 'rejected import', option: '--vgem' },
];
/** Calls of a short and of a long run. Their difference does not contain the start of the program. */
const SHORT = 200;
const LONG = 4200;
/** Each measurement is repeated. The smallest result is taken, because other work of the kernel adds to a result. */
const REPEATS = 3;
/** Seconds of guest time in which bpftrace and the collector read what a flood has printed. */
const DRAIN_SECONDS = 10;

export const UNTRACED = 'untraced';
export const ONE_LINER = 'bpftrace one-liner';
const EXPORT = 'vfio_pci_core_feature_dma_buf';
/** What an engineer types to see how long exports take, by errno. */
const LATENCY_BY_ERRNO = `
  BEGIN { printf("ready\\n") }
  kprobe:vfio_pci_core:${EXPORT} { @start[tid] = nsecs }
  kretprobe:vfio_pci_core:${EXPORT} /@start[tid]/ { @ns[retval] = hist(nsecs - @start[tid]); delete(@start[tid]) }`;

/** Shell scripts that start and stop what traces while the flood runs. */
const PEERS: readonly { name: string; start: string; stop: string }[] = [
  { name: UNTRACED, start: 'true', stop: 'true' },
  {
    name: ONE_LINER,
    start: `bpftrace -e '${LATENCY_BY_ERRNO}' >/tmp/one-liner 2>&1 & echo $! >/tmp/one-liner.pid
      until grep -q ready /tmp/one-liner; do sleep 1; done`,
    stop: 'kill -INT $(cat /tmp/one-liner.pid)',
  },
  {
    name: 'ftrace function_graph',
    start: `cd ${TRACING}; echo ${EXPORT} >set_graph_function; echo function_graph >current_tracer`,
    stop: `cd ${TRACING}; echo nop >current_tracer; echo >set_graph_function; echo >trace`,
  },
];
const THIS = 'this tracer';

/** CPU time of a flood in seconds. A probe runs on the CPU time of the process that hits it. */
async function cpuSeconds(lab: Lab, option: string, calls: number): Promise<number> {
  const flood = `/lab/bin/flood --device ${RESETTABLE} --region 2 ${option} ${calls}`;
  const output = await lab.command(`bash -c "TIMEFORMAT='cpu %3U %3S'; time ${flood}" 2>&1`, 600);
  const [, user, system] = /cpu ([\d.]+) ([\d.]+)/.exec(output) ?? [];
  if (user === undefined) throw new Error(`the flood printed no CPU time:\n${output}`);
  return Number(user) + Number(system);
}

async function callsUnder(lab: Lab): Promise<Record<string, number>> {
  const calls: Record<string, number> = {};
  for (const { name, option } of CALLS) {
    const seconds: number[] = [];
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      seconds.push((await cpuSeconds(lab, option, LONG)) - (await cpuSeconds(lab, option, SHORT)));
      await lab.command(`sleep ${DRAIN_SECONDS}`);
    }
    calls[name] = Math.round((Math.min(...seconds) * 1e9) / (LONG - SHORT) / INSTRUCTION_NS);
  }
  return calls;
}

/** Millions of instructions that the collector and its bpftrace have executed. */
async function instructionsOfCollector(lab: Lab): Promise<Record<string, number>> {
  const output = await lab.command(
    `for pid in $(cat /run/tracer/pid) $(pgrep -P $(cat /run/tracer/pid)); do
       echo "$(cat /proc/$pid/comm) $(cat /proc/$pid/task/*/schedstat | awk '{ ns += $1 } END { print ns }')"
     done`,
  );
  const start: Record<string, number> = {};
  for (const line of output.trim().split('\n')) {
    const [comm = '', ns = ''] = line.split(' ');
    const program = comm === 'bpftrace' ? comm : 'collector';
    start[program] = (start[program] ?? 0) + Math.round(Number(ns) / INSTRUCTION_NS / 1e6);
  }
  return start;
}

/**
 * Measures what tracing costs the process that makes a call, and what the start of the collector costs. In this guest
 * each instruction takes the same time, so the figures do not depend on this machine. Writes docs/performance.json, of
 * which `npm run docs` makes the page.
 */
export async function cost(log: (line: string) => void): Promise<number> {
  const lab = await Lab.open({
    suite: 'trixie',
    kernel: USUAL_KERNEL,
    dialect: 'mainline',
    skipsIdle: true,
    log,
  });
  try {
    await lab.command(stopOracleScript('mainline'));
    const { release, bpftrace } = await versionsOf(lab);
    const costs: Costs = { kernel: release, bpftrace, calls: {}, start: {} };
    const measure = async (name: string): Promise<void> => {
      costs.calls[name] = await callsUnder(lab);
      log(`${name}: instructions for one call: ${JSON.stringify(costs.calls[name])}`);
    };
    // The first calls of a guest also fill the kernel's caches.
    await callsUnder(lab);
    for (const { name, start, stop } of PEERS) {
      await lab.command(start, 600);
      await measure(name);
      await lab.command(stop);
    }
    await lab.startDaemon(1200);
    costs.start = await instructionsOfCollector(lab);
    log(`start: millions of instructions: ${JSON.stringify(costs.start)}`);
    await measure(THIS);
    writeFileSync(FILE, `${JSON.stringify(costs, null, 2)}\n`);
    log('written: docs/performance.json; npm run docs writes docs/performance.md');
    return 0;
  } finally {
    await lab.close();
  }
}
