import { createLogger } from '../support/logger.ts';
import type { CommandContext } from './commands.ts';
import type { ExitCode } from './exit-codes.ts';
import { liveSource } from './live.ts';
import { serve } from './serve.ts';

export async function run(context: CommandContext): Promise<ExitCode> {
  const { config, stdout } = context;
  const logger = await createLogger({
    level: config['log.level'],
    format: config['log.format'],
    fd: 1,
    terminal: stdout.isTTY === true,
  });
  // The daemon tells each change of state itself, once; what the collector says beside it is detail.
  const detail: typeof logger.debug = logger.debug.bind(logger);
  return await serve(context, await liveSource(config, { info: detail, warn: detail }), logger);
}
