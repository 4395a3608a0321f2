import { systemClock } from '../lib/clock.ts';
import { createLogger } from '../lib/logger.ts';
import { Throttle } from '../lib/throttle.ts';
import { Recorder } from '../protocol/recorder.ts';
import { tee } from '../protocol/tee.ts';
import type { CommandContext } from './command.ts';
import type { ExitCode } from './exit-codes.ts';
import { liveSource, warnOfSimulation } from './live-source.ts';
import { serve } from './serve.ts';

export async function run(context: CommandContext): Promise<ExitCode> {
  const { config, stdout } = context;
  const logger = await createLogger({
    level: config['log.level'],
    format: config['log.format'],
    fd: 1,
    terminal: stdout.isTTY === true,
  });
  warnOfSimulation(config, logger);
  // The daemon logs each change of state once. What the collector logs in addition is detail.
  const detail: typeof logger.debug = logger.debug.bind(logger);
  const source = await liveSource(context, { info: detail, warn: detail });
  if (config.record === '') return await serve(context, source, logger);
  const slow = new Throttle({ clock: systemClock, everyMs: 60_000 });
  const recorder = new Recorder({
    path: config.record,
    // A restarted service keeps the recording of its last run, and an existing recording does not prevent the start.
    existing: config.overwrite ? 'replace' : 'number',
    queue: true,
    onWait: (file) => logger.warn({ file }, 'the pipe to record to has no reader yet: lines are buffered'),
    onOpen: (file) => logger.info({ file }, 'recording'),
    onFailure: (err) => {
      const remedy = 'free disk space or record to another file system, then restart the daemon';
      logger.error(
        { file: recorder.path, err, remedy },
        `the recording has ended: ${err.message}; tracing continues`,
      );
    },
    onDropped: () => {
      const held = slow.pass();
      if (held !== undefined)
        logger.error({ file: recorder.path, held }, 'the recording has a gap: its file is too slow');
    },
  });
  const code = await serve(context, tee(source, recorder), logger, recorder);
  const { path: file, written, dropped, error } = recorder;
  if (dropped > 0) logger.error({ file, written, dropped, err: error }, 'the recording has gaps');
  else logger.info({ file, written }, 'recorded');
  return code;
}
