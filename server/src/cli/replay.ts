import { VERSION } from '../lib/package-version.ts';
import { Catalogue } from '../metrics/catalogue.ts';
import { renderMetrics } from '../metrics/exposition.ts';
import { RecordingSource } from '../protocol/recording.ts';
import { Pipeline } from '../tracer/pipeline.ts';
import { TracerModel } from '../tracer/tracer.ts';
import type { CommandContext, Print } from './command.ts';
import { commandLogger } from './command-logger.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { note, printData, printJson } from './output.ts';

export async function replay(context: CommandContext): Promise<ExitCode> {
  const source = new RecordingSource({ path: context.operand ?? '-', stdin: context.stdin });
  if (context.print !== undefined) return await print(context, source, context.print);
  await source.assertReadable();
  const { serve } = await import('./serve.ts');
  const logger = await commandLogger(context);
  logger.info({ recording: source.name }, 'replay: serving a recording, not this host');
  return await serve(context, source, logger);
}

/** Replays the recording as far as it can be read, and prints the result. The output depends on the recording only. */
async function print(context: CommandContext, source: RecordingSource, what: Print): Promise<ExitCode> {
  const model = new TracerModel({
    version: VERSION,
    source: { kind: 'replay', name: source.name },
    seriesLimit: context.config['metrics.max-series'],
    keepDeparted: context.config['metrics.keep-departed'],
  });
  const pipeline = new Pipeline({ source, model });
  if (what === 'events') {
    // If the reader closes the pipe, the stream emits an error and main.ts ends the program.
    pipeline.subscribe((event) => void printJson(context.stdout, JSON.stringify(event)).catch(() => {}));
  }
  const failure = await pipeline.run(context.stop.signal).then(
    () => undefined,
    (error: unknown) => error,
  );
  // A crash can cut off a recording. Print the readable part first, then fail.
  if (failure !== undefined && source.lines === 0) throw failure;
  if (context.stop.signal.aborted) {
    note(context.stderr, 'stopped before the end of the recording');
    return EXIT.failure;
  }
  const text =
    what === 'metrics' ? await renderMetrics(new Catalogue({ model, processMetrics: false }), 'text') : '';
  await printData(context.stdout, text);
  if (failure !== undefined) throw failure;
  return EXIT.ok;
}
