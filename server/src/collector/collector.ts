import { wantedBy } from '../bpftrace/compiler/compose.ts';
import type { FragmentSet } from '../bpftrace/compiler/fragment-set.ts';
import { inspectHost } from '../bpftrace/facts.ts';
import { childEnvironment, findGuard, type Guard } from '../bpftrace/process/launch.ts';
import { Simulation } from '../bpftrace/process/simulation.ts';
import { createBootClock } from '../host/boot-clock.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { TracerError } from '../lib/errors.ts';
import { readFaults } from '../lib/faults.ts';
import type { Logger } from '../lib/logger.ts';
import type { LiveSource } from '../protocol/source.ts';
import { HostErrors } from './host-errors.ts';
import { Supervisor } from './supervisor.ts';
import { DEFAULT_TIMING, type SupervisorTiming } from './timing.ts';

export interface LiveSourceOptions {
  /** From loadFragments(probesDirectory()). */
  fragments: FragmentSet;
  /** bpftrace: a path, or a name to look for in PATH. */
  bpftrace: string;
  /** Maximum number of keys in each kernel map. */
  mapKeys: number;
  /** Version of this program. */
  tracer: string;
  logger: Pick<Logger, 'info' | 'warn'>;
  env?: NodeJS.ProcessEnv;
  /** Default: the system clock, with a boot time in microseconds that is comparable to bpftrace's nsecs. */
  clock?: Clock;
  procRoot?: string;
  sysRoot?: string;
  etcRoot?: string;
  uid?: number;
  timing?: Partial<SupervisorTiming>;
  /** Faults to inject, in the syntax of `--simulate`; empty for none. */
  simulate?: string;
}

/** The source for `run` and `record`: keeps bpftrace running on this host. Starts nothing before run(). */
export function createLiveSource(options: LiveSourceOptions): LiveSource {
  const { fragments, bpftrace, mapKeys, tracer, logger } = options;
  const { env = process.env, procRoot = '/proc', sysRoot = '/sys' } = options;
  const searchPath = env.PATH ?? '';
  const errors = new HostErrors();
  const clock = options.clock ?? {
    ...systemClock,
    bootUs: createBootClock({ procRoot, onError: errors.of('clock') }),
  };
  let guard: Guard | null = null;
  return new Supervisor({
    fragments,
    tracer,
    logger,
    procRoot,
    sysRoot,
    clock,
    errors,
    searchPath,
    timing: { ...DEFAULT_TIMING, ...options.timing },
    simulation: simulationOf(options.simulate ?? '', clock),
    inspect: async () => {
      if (guard?.final !== true) guard = await findGuard(searchPath);
      return inspectHost({
        wanted: wantedBy(fragments),
        bpftrace,
        searchPath,
        procRoot,
        sysRoot,
        ...(options.etcRoot === undefined ? {} : { etcRoot: options.etcRoot }),
        ...(options.uid === undefined ? {} : { uid: options.uid }),
      });
    },
    launch: (path) => ({ path, guard: guard?.command ?? [], env: childEnvironment(env, mapKeys) }),
  });
}

function simulationOf(text: string, { bootUs }: Clock): { text: string; faults: Simulation } | undefined {
  if (text === '') return undefined;
  const faults = readFaults(text);
  if (typeof faults === 'string') throw new TracerError('bad_config', `simulate: ${faults}`);
  return { text, faults: new Simulation({ faults, bootUs }) };
}
