import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { BuffersAnswer, IncidentsAnswer, RejectionsAnswer, StatusAnswer } from '../../contract/answers.ts';
import type { BufferView } from '../../contract/buffers.ts';
import { type DaemonClient, SHORT_ANSWER_BYTES } from './daemon-client.ts';

export type Incidents = Static<typeof IncidentsAnswer>;
export type Status = Static<typeof StatusAnswer>;
export type Rejection = Static<typeof RejectionsAnswer>['rejections'][number];
/** The fields of each reason that the terminal shows. */
const Sentences = Type.Object({
  reasons: Type.Array(Type.Object({ name: Type.String(), what: Type.String() })),
});
const SENTENCES = Compile(Sentences);
const STATUS = Compile(StatusAnswer);
const INCIDENTS = Compile(IncidentsAnswer);
const REJECTIONS = Compile(RejectionsAnswer);
const BUFFERS = Compile(BuffersAnswer);

/** State of a daemon, read at about the same time. */
export interface DaemonState {
  status: Status;
  /** The filter of the request. It does not apply to `status`. */
  asked: Asked;
  buffers: BufferView[];
  /** Number of buffers in the daemon, also those above the limit of the request. */
  total: number;
  incidents: Incidents;
  /** The newest rejections. */
  rejections: Rejection[];
  /** Number of rejections since the start; null if nothing counts them. */
  rejected: number | null;
  /** What each reason means, by its name. */
  sentences: ReadonlyMap<string, string>;
}

export interface Asked {
  /** Address of one PCI device; undefined: all devices. */
  device: string | undefined;
  state: 'live' | 'revoked' | undefined;
}

const MOST_BUFFERS = 10_000;
/** Includes closed incidents: closing a critical incident does not undo its effects. */
const MOST_INCIDENTS = 10_000;
const MOST_REJECTIONS = 100;
/** Number of reads after which everything is read again: no counter shows changes of holders and names. */
const READ_ALL_EVERY = 10;

/** Reads the status each time, and everything else only if the status shows a change. */
export class Viewer {
  readonly #client: DaemonClient;
  readonly #asked: Asked;
  #last: DaemonState | undefined;
  #reads = 0;

  constructor(client: DaemonClient, asked: Asked) {
    this.#client = client;
    this.#asked = asked;
  }

  /** Drops the last state. After a lost connection another daemon may answer. */
  reset(): void {
    this.#last = undefined;
  }

  async read(signal: AbortSignal): Promise<DaemonState> {
    const status = await this.#client.json('/api/v1/status', STATUS, signal, SHORT_ANSWER_BYTES);
    const last = this.#last;
    this.#reads += 1;
    const unchanged = last !== undefined && this.#reads % READ_ALL_EVERY !== 0 && same(last.status, status);
    this.#last = unchanged
      ? { ...last, status }
      : { status, asked: this.#asked, ...(await this.#readAll(signal)) };
    return this.#last;
  }

  async #readAll(signal: AbortSignal): Promise<Omit<DaemonState, 'status' | 'asked'>> {
    const device =
      this.#asked.device === undefined ? '' : `&device=${encodeURIComponent(this.#asked.device)}`;
    const states = this.#asked.state === undefined ? (['revoked', 'live'] as const) : [this.#asked.state];
    const [incidents, { rejections, counts }, sentences, ...answers] = await Promise.all([
      this.#client.json(`/api/v1/incidents?limit=${MOST_INCIDENTS}${device}`, INCIDENTS, signal),
      this.#client.json(`/api/v1/rejections?limit=${MOST_REJECTIONS}${device}`, REJECTIONS, signal),
      this.#last?.sentences ?? this.#sentences(signal),
      ...states.map((state) =>
        this.#client.json(`/api/v1/buffers?state=${state}&limit=${MOST_BUFFERS}${device}`, BUFFERS, signal),
      ),
    ]);
    return {
      incidents,
      rejections,
      rejected: rejectedOf(rejections, counts),
      sentences,
      buffers: answers.flatMap(({ buffers }) => buffers),
      total: answers.reduce((sum, { total }) => sum + total, 0),
    };
  }

  async #sentences(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const answer = await this.#client.json('/api/v1/reasons', SENTENCES, signal, SHORT_ANSWER_BYTES);
    return new Map(answer.reasons.map(({ name, what }) => [name, what]));
  }
}

/** The log can be ahead of the counters. If the log may have more rejections than requested, only the counters are complete. */
function rejectedOf(
  rejections: readonly Rejection[],
  { imports, exports }: Static<typeof RejectionsAnswer>['counts'],
): number | null {
  if (imports === null || exports === null)
    return rejections.length < MOST_REJECTIONS ? rejections.length : null;
  const counted = [...imports, ...exports].reduce((sum, { count }) => sum + count, 0);
  return Math.max(counted, rejections.length);
}

/** Whether buffers, incidents and rejections are unchanged. */
function same(a: Status, b: Status): boolean {
  const fingerprint = ({
    events_received,
    generation,
    buffer_state_exact,
    buffers,
    open_incidents,
  }: Status) => JSON.stringify([events_received, generation, buffer_state_exact, buffers, open_incidents]);
  return fingerprint(a) === fingerprint(b);
}
