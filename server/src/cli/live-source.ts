import { loadFragments } from '../bpftrace/compiler/fragment.ts';
import { createLiveSource } from '../collector/collector.ts';
import type { Logger } from '../lib/logger.ts';
import { VERSION } from '../lib/package-version.ts';
import { probesDirectory } from '../lib/probes-directory.ts';
import type { LiveSource } from '../protocol/source.ts';
import type { CommandContext } from './command.ts';

/** Creates the collector of the host from the settings. */
export async function liveSource(
  { config, host }: Pick<CommandContext, 'config' | 'host'>,
  logger: Pick<Logger, 'info' | 'warn'>,
): Promise<LiveSource> {
  return createLiveSource({
    fragments: await loadFragments(probesDirectory()),
    bpftrace: config['bpftrace.path'],
    mapKeys: config['bpftrace.map-keys'],
    simulate: config.simulate,
    tracer: VERSION,
    logger,
    ...host,
  });
}

/** Logs a warning at the start, so that no reader of the log takes simulated faults for real ones. */
export function warnOfSimulation(
  { simulate }: Pick<CommandContext['config'], 'simulate'>,
  logger: Pick<Logger, 'warn'>,
): void {
  if (simulate !== '') logger.warn({ simulate }, 'simulating faults: not everything in this stream is real');
}
