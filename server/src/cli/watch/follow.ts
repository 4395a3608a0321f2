import type { Clock } from '../../support/clock.ts';
import { TracerError } from '../../support/errors.ts';
import type { DaemonClient } from './daemon-client.ts';
import { messagesOf } from './server-sent.ts';

export interface FollowOptions {
  client: DaemonClient;
  device: string | undefined;
  write: (line: string) => Promise<void>;
  /** A sentence for people, beside the data. */
  tell: (text: string) => void;
  clock: Pick<Clock, 'sleep'>;
  signal: AbortSignal;
}

const LONGEST_PAUSE_MS = 30_000;

/** Milliseconds to wait before the n-th try in a row, from 0 on. */
export function pauseMs(tries: number): number {
  return Math.min(LONGEST_PAUSE_MS, 500 * 2 ** tries);
}

/**
 * One line of JSON for each event, from now on until the signal. `dropped` and `reset` of the stream are told as such lines too. A
 * lost connection is taken up again behind the last event; one that never was is an error.
 */
export async function follow(options: FollowOptions): Promise<void> {
  const { client, device, write, tell, clock, signal } = options;
  const path = `/api/v1/stream${device === undefined ? '' : `?device=${encodeURIComponent(device)}`}`;
  let last: string | undefined;
  let connected = false;
  let tries = 0;
  while (!signal.aborted) {
    let why = 'the daemon has ended the stream';
    try {
      for await (const { event, id, data } of messagesOf(noted(client.stream(path, last, signal)))) {
        if (data !== '')
          await write(escaped(event === 'dropped' || event === 'reset' ? marked(event, data) : data));
        last = id;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TracerError) || !connected || error.code === 'bad_usage') throw error;
      why = error.message;
    }
    if (signal.aborted) return;
    tell(`${why}; trying again`);
    await clock.sleep(pauseMs(tries++), signal);
  }

  async function* noted(chunks: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const chunk of chunks) {
      connected = true;
      tries = 0;
      yield chunk;
    }
  }
}

function marked(kind: string, data: string): string {
  return JSON.stringify({ kind, ...(JSON.parse(data) as object) });
}

/** The same JSON, without what a terminal would obey: JSON itself escapes only what is below 0x20. */
function escaped(json: string): string {
  return json.replaceAll(/[\p{Cc}\p{Cf}]/gu, (character) =>
    Array.from({ length: character.length }, (_, unit) => {
      return `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`;
    }).join(''),
  );
}
