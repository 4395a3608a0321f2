import { stat } from 'node:fs/promises';
import { systemClock } from '../lib/clock.ts';
import { TracerError } from '../lib/errors.ts';
import { RecordingSource } from '../protocol/recording.ts';
import { observed } from '../protocol/source.ts';
import { SocketSource } from '../relay/client.ts';
import { DataPath } from '../systemd/data-path.ts';
import { type PassedDescriptor, takeDescriptors } from '../systemd/descriptors.ts';
import { NOTIFY_NAME, ServiceManager } from '../systemd/service-manager.ts';
import type { CommandContext } from './command.ts';
import { commandLogger } from './command-logger.ts';
import type { ExitCode } from './exit-codes.ts';
import { serve } from './serve.ts';

/** Serves the live stream of a collector in another process or on another host. */
export async function serveStream(context: CommandContext): Promise<ExitCode> {
  const { config, env, operand = '-', stdin } = context;
  const passed = takeDescriptors(env);
  const sockets = config['web.systemd-socket'] ? { descriptors: socketsOf(passed) } : {};
  const isSocket = await namesSocket(operand);
  const recording = new RecordingSource({ path: operand, stdin, kind: 'live' });
  if (!isSocket) await recording.assertReadable();
  const logger = await commandLogger(context);
  const manager = new ServiceManager({ env, descriptors: passed, logger });
  const socket = isSocket ? new SocketSource({ path: operand, clock: systemClock, logger }) : null;
  const path = new DataPath();
  const source = observed(socket ?? recording, ({ record }) => path.observe(record));
  let endReports = (): void => {};
  try {
    return await serve(context, source, logger, {
      ...sockets,
      manager,
      onStarted: (daemon) => {
        endReports = manager.report({
          status: () => {
            const readiness = daemon.readiness();
            return readiness.ready ? 'ready' : `not ready: ${readiness.why}`;
          },
          // A restart would not help while there is no collector.
          problem: (limitMs) => (socket?.isConnected === false ? null : path.problem(limitMs)),
        });
      },
    });
  } finally {
    endReports();
  }
}

/** @throws TracerError if systemd has passed no socket */
function socketsOf(passed: readonly PassedDescriptor[]): number[] {
  const sockets = passed.filter(({ name }) => name !== NOTIFY_NAME).map(({ fd }) => fd);
  if (sockets.length > 0) return sockets;
  throw new TracerError('bad_config', 'systemd has passed no socket to this process', {
    where: 'web.systemd-socket',
    remedy: 'start the service with its socket unit, or leave this setting out',
  });
}

/** Whether the path is a socket. If nothing is there, its name decides: the collector may start later. */
async function namesSocket(path: string): Promise<boolean> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    return undefined;
  });
  return found === null ? path.endsWith('.sock') : (found?.isSocket() ?? false);
}
