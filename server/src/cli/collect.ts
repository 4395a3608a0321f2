import { createBootClock } from '../host/boot-clock.ts';
import { readGroupId } from '../host/group.ts';
import { TracerError } from '../lib/errors.ts';
import { Relay } from '../relay/relay.ts';
import { RelaySocket } from '../relay/socket.ts';
import { DataPath } from '../systemd/data-path.ts';
import { takeDescriptors } from '../systemd/descriptors.ts';
import { ServiceManager } from '../systemd/service-manager.ts';
import type { CommandContext } from './command.ts';
import { commandLogger } from './command-logger.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { liveSource, warnOfSimulation } from './live-source.ts';
import { untraceable } from './untraceable.ts';

/** Traces this host and passes the stream on to the readers of a unix socket, until a signal. */
export async function collect(context: CommandContext): Promise<ExitCode> {
  const { config, env, host, readers, stop } = context;
  const logger = await commandLogger(context);
  const manager = new ServiceManager({ env, descriptors: takeDescriptors(env), logger });
  warnOfSimulation(config, logger);
  const gid = await groupOf(config['collector.group'], host?.etcRoot);
  const source = await liveSource(context, logger);
  const { procRoot = '/proc' } = host ?? {};
  const relay = new Relay({
    bootUs: host?.clock?.bootUs ?? createBootClock({ procRoot }),
    onResync: () => source.requestSnapshot(),
  });
  const path = config['collector.socket'];
  const socket = new RelaySocket({ relay, path, gid, logger, ...readers });
  await socket.start();
  logger.info({ socket: path }, 'passing the stream on; SIGINT or SIGTERM ends it');
  const data = new DataPath();
  const endReports = manager.report({ status: () => data.text, problem: (ms) => data.problem(ms) });
  manager.ready();
  const announceStop = (): void => manager.stopping();
  stop.signal.addEventListener('abort', announceStop, { once: true });
  const broken = new AbortController();
  let failure: TracerError | undefined;
  try {
    await source.run(
      (line) => {
        relay.write(line);
        data.observe(line.record);
        if (!config.strict || failure !== undefined) return;
        failure = untraceable(line.record);
        if (failure !== undefined) broken.abort();
      },
      AbortSignal.any([stop.signal, broken.signal]),
    );
  } finally {
    stop.signal.removeEventListener('abort', announceStop);
    await socket.stop();
    await relay.stop();
    endReports();
  }
  if (failure !== undefined) throw failure;
  const { lines, events } = relay.dropped;
  if (lines > 0) logger.warn({ lines, events }, 'stopped; lines were dropped for readers that were too slow');
  else logger.info('stopped');
  return EXIT.ok;
}

/** @throws TracerError `bad_config` if there is no such group */
async function groupOf(group: string, etcRoot?: string): Promise<number | null> {
  if (group === '') return null;
  const gid = await readGroupId(group, etcRoot);
  if (gid !== null) return gid;
  throw new TracerError('bad_config', `there is no group ${group} in /etc/group`, {
    where: 'collector.group',
    remedy: `create it with \`groupadd --system ${group}\`, or give the number of a group`,
  });
}
