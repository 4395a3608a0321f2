import { closeSync, writeSync } from 'node:fs';
import { systemClock } from '../lib/clock.ts';
import { TracerError } from '../lib/errors.ts';
import { RecordingSource } from '../protocol/recording.ts';
import type { LineSource } from '../protocol/source.ts';
import type { CommandContext } from './command.ts';
import { commandLogger } from './command-logger.ts';
import type { ExitCode } from './exit-codes.ts';
import { serve } from './serve.ts';

/** `run` waits for a write to this descriptor. */
const STARTED_FD = 3;
const STOP_SIGNAL_MS = 1000;

/** The server of `run`. It has no privileges. */
export async function runServer(context: CommandContext): Promise<ExitCode> {
  const { stdin, stop } = context;
  const logger = await commandLogger(context);
  const input = new RecordingSource({ path: '-', stdin, kind: 'live' });
  return await serve(context, toItsEnd(input, stop.signal), logger, { onStarted: reportStart });
}

function reportStart(): void {
  try {
    writeSync(STARTED_FD, 'started\n');
    closeSync(STARTED_FD);
  } catch (cause) {
    throw new TracerError('bad_usage', '`server` is a part of `run`', { remedy: 'start `run`', cause });
  }
}

/** After `stopRequest`, the collector stops too. So the source is not aborted then, but read to its end. */
function toItsEnd(source: LineSource, stopRequest: AbortSignal): LineSource {
  return {
    kind: source.kind,
    name: 'bpftrace',
    run: async (onLine, signal, onDropped) => {
      const ended = new AbortController();
      signal.addEventListener('abort', () => {
        if (!stopRequest.aborted) ended.abort();
      });
      await source.run(onLine, ended.signal, onDropped);
      // The signal that announces a stop was sent before the end of the stream, but may be handled after it.
      await systemClock.sleep(STOP_SIGNAL_MS, signal);
    },
  };
}
