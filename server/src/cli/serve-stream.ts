import { createLogger } from '../lib/logger.ts';
import { RecordingSource } from '../protocol/recording.ts';
import type { CommandContext } from './command.ts';
import type { ExitCode } from './exit-codes.ts';
import { serve } from './serve.ts';

/** Serves the live stream of a collector in another process or on another host. */
export async function serveStream(context: CommandContext): Promise<ExitCode> {
  const { config, operand = '-', stdin, stdout } = context;
  const source = new RecordingSource({ path: operand, stdin, kind: 'live' });
  await source.assertReadable();
  const logger = await createLogger({
    level: config['log.level'],
    format: config['log.format'],
    fd: 1,
    terminal: stdout.isTTY === true,
  });
  return await serve(context, source, logger);
}
