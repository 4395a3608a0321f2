import { Daemon } from '../daemon.ts';
import { loadDocs } from '../http/docs.ts';
import { loadWebFiles } from '../http/web-files.ts';
import { systemClock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { VERSION } from '../lib/package-version.ts';
import { becomeUser } from '../lib/privileges.ts';
import { killAfter } from '../lib/stop-limit.ts';
import type { LineSource } from '../protocol/source.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';

export interface ServeOptions {
  /** The user to become if this process is root; default: none. */
  user?: string;
  /** Called when the server listens. */
  onStarted?: () => void;
}

/**
 * Serves one source until a signal requests a stop. Also stops the daemon in order after an error.
 *
 * @throws TracerError `bad_config` if it cannot become the user, or if that user cannot read the settings
 */
export async function serve(
  context: CommandContext,
  source: LineSource,
  logger: Logger,
  { user, onStarted }: ServeOptions = {},
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
    docs: loadDocs(),
    ...(loadConfig === undefined ? {} : { loadConfig }),
    ...(web === undefined ? {} : { web }),
  });
  if (user !== undefined) {
    // Only now: the program may be in a folder that the user cannot read.
    becomeUser(user);
    // Root has read the settings. The user must be able to read them too, for a reload.
    loadConfig?.();
  }
  // A terminal that is closed sends this signal: then it ends the process, as without a listener. The daemon itself logs
  // why a reload failed.
  const reload = (): void => void daemon.reload().catch(() => {});
  const ignoreHangup = stdout.isTTY === true ? undefined : onHangup?.(reload);
  try {
    await daemon.start();
    onStarted?.();
    await daemon.untilStopped(context.stop.signal);
  } finally {
    ignoreHangup?.();
    await daemon.stop();
  }
  return EXIT.ok;
}
