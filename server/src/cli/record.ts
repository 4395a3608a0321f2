import { TracerError } from '../lib/errors.ts';
import { Recorder } from '../protocol/recorder.ts';
import type { CommandContext } from './command.ts';
import { commandLogger } from './command-logger.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { liveSource, warnOfSimulation } from './live-source.ts';
import { untraceable } from './untraceable.ts';

/** Records the stream of this host until a signal. At any time the file is complete, except for the last second. */
export async function record(context: CommandContext): Promise<ExitCode> {
  const { config, operand = '-' } = context;
  const logger = await commandLogger(context, 2);
  warnOfSimulation(config, logger);
  const source = await liveSource(context, logger);
  const recorder = new Recorder({
    path: operand === '-' ? '/dev/stdout' : operand,
    existing: config.overwrite ? 'replace' : 'fail',
    onWait: (file) => logger.info({ file }, 'the pipe has no reader yet: waiting for one'),
  });
  const { signal } = context.stop;
  await recorder.start(signal);
  if (signal.aborted) {
    await recorder.stop();
    return EXIT.ok;
  }
  logger.info({ file: recorder.path }, 'recording; SIGINT or SIGTERM ends it');
  const broken = new AbortController();
  let failure: TracerError | undefined;
  const giveUp = (error: TracerError): void => {
    failure ??= error;
    broken.abort();
  };
  try {
    await source.run(
      ({ raw, record }) => {
        recorder.write(raw);
        if (recorder.error !== null) giveUp(unwritable(recorder.path, recorder.error));
        const error = config.strict ? untraceable(record) : undefined;
        if (error !== undefined) giveUp(error);
      },
      AbortSignal.any([signal, broken.signal]),
    );
  } finally {
    await recorder.stop();
  }
  if (recorder.error !== null) giveUp(unwritable(recorder.path, recorder.error));
  if (failure !== undefined) throw failure;
  const { path: file, written, dropped } = recorder;
  if (dropped > 0) logger.warn({ file, written, dropped }, 'recorded with gaps: the file was too slow');
  else logger.info({ file, written }, 'recorded');
  return EXIT.ok;
}

function unwritable(path: string, cause: Error): TracerError {
  if (cause instanceof TracerError) return cause;
  return new TracerError('file_unwritable', `the recording cannot be continued: ${cause.message}`, {
    where: path,
    remedy: 'free disk space, or record to another file system',
    cause,
  });
}
