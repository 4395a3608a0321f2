import { createLogger, type Logger } from '../lib/logger.ts';
import type { CommandContext } from './command.ts';

/** The logger of a command: on its standard output, or on standard error (`fd` 2) if its standard output is data. */
export function commandLogger(
  { config, stdout, stderr }: Pick<CommandContext, 'config' | 'stdout' | 'stderr'>,
  fd: 1 | 2 = config['events.output'] === '-' ? 2 : 1,
): Promise<Logger> {
  return createLogger({
    level: config['log.level'],
    format: config['log.format'],
    fd,
    terminal: (fd === 1 ? stdout : stderr).isTTY === true,
  });
}
