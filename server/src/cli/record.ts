import type { CommandContext } from './commands.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
export async function record(_context: CommandContext): Promise<ExitCode> {
  return EXIT.failure;
}
