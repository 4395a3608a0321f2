import { Daemon } from '../daemon.ts';
import { loadWebFiles } from '../http/web-files.ts';
import { systemClock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { VERSION } from '../lib/package-version.ts';
import { killAfter } from '../lib/stop-limit.ts';
import type { LineSource } from '../protocol/source.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';

/**
 * Serves one source until a signal requests a stop. Also stops the daemon in order after an error.
 *
 * @param onStarted called when the server listens
 */
export async function serve(
  context: CommandContext,
  source: LineSource,
  logger: Logger,
  onStarted: () => void = () => {},
): Promise<ExitCode> {
  const web = loadWebFiles();
  const { loadConfig, onHangup, stdout } = context;
  const daemon = new Daemon({
    config: context.config,
    source,
    version: VERSION,
    logger,
    clock: systemClock,
    killAfter,
    ...(loadConfig === undefined ? {} : { loadConfig }),
    ...(web === undefined ? {} : { web }),
  });
  // A terminal that is closed sends this signal: then it ends the process, as without a listener. The daemon itself logs
  // why a reload failed.
  const reload = (): void => void daemon.reload().catch(() => {});
  const ignoreHangup = stdout.isTTY === true ? undefined : onHangup?.(reload);
  try {
    await daemon.start();
    onStarted();
    await daemon.untilStopped(context.stop.signal);
  } finally {
    ignoreHangup?.();
    await daemon.stop();
  }
  return EXIT.ok;
}
