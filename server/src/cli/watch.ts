import type { CommandContext } from './commands.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
export async function watch(_context: CommandContext): Promise<ExitCode> {
  return EXIT.ok;
}
