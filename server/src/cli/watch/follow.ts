import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { Value } from 'typebox/value';
import { EventsAnswer } from '../../contract/answers.ts';
import { BackOff, type BackOffOptions } from '../../lib/back-off.ts';
import type { Clock } from '../../lib/clock.ts';
import { TracerError } from '../../lib/errors.ts';
import { type DaemonClient, SHORT_ANSWER_BYTES } from './daemon-client.ts';

export interface FollowOptions {
  client: DaemonClient;
  device: string | undefined;
  write: (line: string) => Promise<void>;
  /** Prints a message for the user, separate from the data. */
  notify: (text: string) => void;
  clock: Pick<Clock, 'sleep'>;
  signal: AbortSignal;
}

/** Length limit of one message, in characters. An incident with thousands of importers is shorter. */
const LONGEST_MESSAGE = 16 << 20;
/** The pauses before the daemon is asked again. */
export const RETRY: BackOffOptions = { initialMs: 500, maxMs: 30_000 };
/** Position in the stream. It is sent back in a header, so only these characters are accepted. */
const EVENT_ID = /^[\w.:-]{1,100}$/;
const NEWEST = Compile(Type.Pick(EventsAnswer, ['log', 'newest']));
const Event = Type.Object({ kind: Type.String() });
/** Data of `dropped` and `reset`. The name of the message is their kind. */
const Mark = Type.Object({});

/**
 * Yields the messages of server-sent events. Chunks may be cut anywhere.
 *
 * @throws RangeError if a message is longer than 16 Mi characters: its end may never arrive
 */
export async function* messagesOf(chunks: AsyncIterable<string>): AsyncGenerator<EventSourceMessage> {
  const complete: EventSourceMessage[] = [];
  const parser = createParser({
    maxBufferSize: LONGEST_MESSAGE,
    onEvent: (message) => complete.push(message),
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') throw new RangeError('a message of the stream has no end');
    },
  });
  for await (const chunk of chunks) {
    parser.feed(chunk);
    yield* complete.splice(0);
  }
}

/**
 * Writes each new event as one line of JSON until the signal. The messages `dropped` and `reset` of the stream become lines too.
 * After a lost connection it reconnects and continues after the last event.
 *
 * @throws TracerError if the first connection fails, or if the daemon rejects the request
 */
export async function follow(options: FollowOptions): Promise<void> {
  const { client, device, write, notify, clock, signal } = options;
  const path = `/api/v1/stream${device === undefined ? '' : `?device=${encodeURIComponent(device)}`}`;
  let last: string | undefined;
  let connected = false;
  const backOff = new BackOff(RETRY);
  while (!signal.aborted) {
    let why = 'the daemon has ended the stream';
    try {
      // With a position, a stream that ends before its first event continues without a gap.
      last ??= await newestId();
      for await (const { event = '', id = '', data } of messagesOf(
        noted(client.stream(path, last, signal)),
      )) {
        const position = checkedId(id);
        await write(lineOf(event, data));
        last = position;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof RangeError) {
        throw client.unreadable(path, { instancePath: '', message: error.message });
      }
      if (!(error instanceof TracerError) || !connected || error.code === 'bad_usage') throw error;
      why = error.message;
    }
    if (signal.aborted) return;
    notify(`${why}; retrying`);
    await clock.sleep(backOff.next(), signal);
  }

  async function* noted(chunks: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const chunk of chunks) {
      connected = true;
      backOff.reset();
      yield chunk;
    }
  }

  async function newestId(): Promise<string> {
    const { log, newest } = await client.json('/api/v1/events?limit=1', NEWEST, signal, SHORT_ANSWER_BYTES);
    return checkedId(`${log}.${newest}`);
  }

  function checkedId(id: string): string {
    if (EVENT_ID.test(id)) return id;
    throw client.unreadable(path, { instancePath: 'id', message: 'has a wrong character' });
  }

  function lineOf(event: string, data: string): string {
    const value = parsed(data);
    const isMark = event === 'dropped' || event === 'reset';
    if (!Value.Check(isMark ? Mark : Event, value)) {
      const message = isMark ? 'must be an object' : 'must be an event, with its kind';
      throw client.unreadable(path, { instancePath: event, message });
    }
    return JSON.stringify(isMark ? { kind: event, ...(value as object) } : value);
  }
}

/** Parses JSON; undefined if the text is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
