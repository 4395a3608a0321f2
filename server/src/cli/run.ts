import type { Config } from '../config/schema.ts';
import { createBootClock } from '../host/boot-clock.ts';
import type { ProcessEnd } from '../host/process-group.ts';
import { systemClock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { Throttle } from '../lib/throttle.ts';
import { Recorder } from '../protocol/recorder.ts';
import { type StreamLine, streamLine } from '../protocol/stream-line.ts';
import type { Recording } from '../protocol/wire.ts';
import { Relay } from '../relay/relay.ts';
import type { CommandContext } from './command.ts';
import { commandLogger } from './command-logger.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { liveSource, warnOfSimulation } from './live-source.ts';
import { ServerProcess } from './server-process.ts';

/** Traces this host in this process, and serves the stream in a second process without privileges. */
export async function run(context: CommandContext): Promise<ExitCode> {
  const { config, env, serverFlags, stdout, stop } = context;
  const logger = await commandLogger(context);
  warnOfSimulation(config, logger);
  const server = new ServerProcess({ user: config['server-user'], flags: serverFlags, env, logger });
  // A terminal that is closed sends this signal: then it ends the process, as without a listener.
  const ignoreHangup = stdout.isTTY === true ? undefined : context.onHangup?.(() => server.hangUp());
  // The server logs each change of state once. What the collector logs in addition is detail.
  const detail: typeof logger.debug = logger.debug.bind(logger);
  const source = await liveSource(context, { info: detail, warn: detail });
  const recorder = config.record === '' ? null : createRecorder(config, logger);
  await recorder?.start(stop.signal);
  const kill = (): void => server.kill();
  const announceStop = (): void => server.announceStop();
  process.once('exit', kill);
  stop.signal.addEventListener('abort', announceStop, { once: true });
  let end: ProcessEnd;
  try {
    if (!stop.signal.aborted && (await server.start())) {
      const relay = new Relay({
        bootUs: createBootClock({ procRoot: '/proc' }),
        onResync: () => source.requestSnapshot(),
        // Its only reader never returns.
        keptBytes: 0,
      });
      relay.add(server.input);
      await source.run(passTo(relay, recorder), AbortSignal.any([stop.signal, server.gone]));
      await relay.stop();
    }
  } finally {
    end = await server.stop();
    ignoreHangup?.();
    stop.signal.removeEventListener('abort', announceStop);
    process.off('exit', kill);
    if (recorder !== null) await stopRecorder(recorder, logger);
  }
  if (stop.signal.aborted) return EXIT.ok;
  const code = Object.values(EXIT).find((known) => known !== EXIT.ok && known === end.code);
  // A server that ends with a known code has printed why.
  if (code === undefined)
    logger.error({ code: end.code, signal: end.signal, err: end.error }, 'the server has ended');
  return code ?? EXIT.failure;
}

/** Returns a function that passes a line on to the relay and the recorder. Only the relay gets the state of the recording. */
function passTo(relay: Relay, recorder: Recorder | null): (line: StreamLine) => void {
  let reported: Recording | null = null;
  return (line) => {
    relay.write(line);
    if (recorder === null) return;
    recorder.write(line.raw);
    const data = recorder.state;
    if (reported?.up === data.up && reported.lines_dropped === data.lines_dropped) return;
    reported = data;
    relay.write(streamLine(JSON.stringify({ type: 'recording', data })));
  };
}

function createRecorder(config: Config, logger: Logger): Recorder {
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
  return recorder;
}

async function stopRecorder(recorder: Recorder, logger: Logger): Promise<void> {
  await recorder.stop();
  const { path: file, written, dropped, error } = recorder;
  if (dropped > 0) logger.error({ file, written, dropped, err: error }, 'the recording has gaps');
  else logger.info({ file, written }, 'recorded');
}
