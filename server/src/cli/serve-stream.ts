import { stat } from 'node:fs/promises';
import { systemClock } from '../lib/clock.ts';
import { RecordingSource } from '../protocol/recording.ts';
import { SocketSource } from '../relay/client.ts';
import type { CommandContext } from './command.ts';
import { commandLogger } from './command-logger.ts';
import type { ExitCode } from './exit-codes.ts';
import { serve } from './serve.ts';

/** Serves the live stream of a collector in another process or on another host. */
export async function serveStream(context: CommandContext): Promise<ExitCode> {
  const { operand = '-', stdin } = context;
  const isSocket = await namesSocket(operand);
  const recording = new RecordingSource({ path: operand, stdin, kind: 'live' });
  if (!isSocket) await recording.assertReadable();
  const logger = await commandLogger(context);
  const source = isSocket ? new SocketSource({ path: operand, clock: systemClock, logger }) : recording;
  return await serve(context, source, logger);
}

/** Whether the path is a socket. If nothing is there, its name decides: the collector may start later. */
async function namesSocket(path: string): Promise<boolean> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    return undefined;
  });
  return found === null ? path.endsWith('.sock') : (found?.isSocket() ?? false);
}
