import { Daemon } from '../daemon.ts';
import { loadWebFiles } from '../http/web-files.ts';
import { systemClock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { VERSION } from '../lib/package-version.ts';
import { killAfter } from '../lib/stop-limit.ts';
import type { LineSource } from '../protocol/source.ts';
import type { ServiceManager } from '../systemd/service-manager.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';

export interface ServeOptions {
  /** Called when the server listens. */
  onStarted?: (daemon: Daemon) => void;
  /** Sockets that systemd has opened. They are served instead of `web.listen-address`. */
  descriptors?: readonly number[];
  /** systemd, if it has started this process. */
  manager?: Pick<ServiceManager, 'ready' | 'reloading' | 'stopping'>;
}

/** Serves one source until a signal requests a stop. Also stops the daemon in order after an error. */
export async function serve(
  context: CommandContext,
  source: LineSource,
  logger: Logger,
  { onStarted, descriptors, manager }: ServeOptions = {},
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
    ...(descriptors === undefined ? {} : { descriptors }),
  });
  // A terminal that is closed sends this signal: then it ends the process, as without a listener. The daemon itself logs
  // why a reload failed.
  const reload = async (): Promise<void> => {
    manager?.reloading();
    await daemon.reload().catch(() => {});
    manager?.ready();
  };
  const ignoreHangup = stdout.isTTY === true ? undefined : onHangup?.(() => void reload());
  try {
    await daemon.start();
    onStarted?.(daemon);
    manager?.ready();
    await daemon.untilStopped(context.stop.signal);
  } finally {
    ignoreHangup?.();
    manager?.stopping();
    await daemon.stop();
  }
  return EXIT.ok;
}
