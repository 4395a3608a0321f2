import { type Clock, systemClock } from '../lib/clock.ts';
import { TracerError } from '../lib/errors.ts';
import { didYouMean } from '../lib/suggest.ts';
import { wantsColor } from './color.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { note, print, printJson } from './output.ts';
import { DaemonClient, DEFAULT_URL, daemonUrl } from './watch/daemon-client.ts';
import { type Asked, Viewer } from './watch/daemon-state.ts';
import { follow } from './watch/follow.ts';
import { drawAll } from './watch/frame.ts';
import { readHttpConfig } from './watch/http-config.ts';
import { nowOf, watchLive } from './watch/session.ts';
import { FIRST_VIEW } from './watch/view.ts';

const STATES = ['live', 'revoked'] as const;

/** Shows a running daemon: live in a terminal, once without a terminal, or as JSON events. */
export async function watch(context: CommandContext): Promise<ExitCode> {
  const { operand = DEFAULT_URL, options, json, stdout, stdin, stderr, stop, env } = context;
  const clock: Clock = systemClock;
  const file = options['http.config.file'];
  const http = file === undefined ? {} : { http: readHttpConfig(file) };
  const client = new DaemonClient(daemonUrl(operand), http);
  const state = stateOf(options.state);
  const { device } = options;
  if (json) {
    rejectWithJson(options);
    const write = (line: string) => printJson(stdout, line);
    const notify = (text: string) => note(stderr, text);
    try {
      await follow({ client, device, write, notify, clock, signal: stop.signal });
    } catch (error) {
      // The reader closed the pipe (`| head`).
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    }
    return EXIT.ok;
  }
  const asked: Asked = { device, state };
  const vm = options.vm?.toLowerCase();
  const viewer = new Viewer(client, asked);
  if (options.once !== undefined || stdout.isTTY !== true) {
    const daemon = await viewer.read(stop.signal);
    const wallMs = clock.wallMs();
    const input = { url: client.url, daemon, view: FIRST_VIEW, vm, lost: undefined };
    const lines = drawAll({ ...input, nowMs: nowOf(daemon, wallMs), wallMs });
    await print(stdout, `${lines.map(({ text }) => text).join('\n')}\n`);
    return EXIT.ok;
  }
  await watchLive({
    viewer,
    url: client.url,
    vm,
    clock,
    signal: stop.signal,
    stdout,
    stdin,
    color: wantsColor(stdout, env),
  });
  return EXIT.ok;
}

function stateOf(text: string | undefined): Asked['state'] {
  const state = STATES.find((one) => one === text);
  if (text === undefined || state !== undefined) return state;
  throw new TracerError('bad_usage', `--state cannot be ${JSON.stringify(text)}`, {
    where: 'flag --state',
    remedy: didYouMean(text, STATES),
  });
}

function rejectWithJson(options: CommandContext['options']): void {
  const wrong = ['vm', 'state', 'once'].find((name) => options[name] !== undefined);
  if (wrong === undefined) return;
  throw new TracerError('bad_usage', `--${wrong} cannot be combined with --json, which prints events`, {
    where: `flag --${wrong}`,
    remedy: 'leave it out and filter with jq; --device is accepted',
  });
}
