import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { BuffersAnswer } from '../../http/routes/buffers.ts';
import { IncidentsAnswer } from '../../http/routes/incidents.ts';
import { RejectionsAnswer } from '../../http/routes/rejections.ts';
import { StatusAnswer } from '../../http/routes/status.ts';
import type { BufferView } from '../../model/schema.ts';
import { type DaemonClient, SHORT_ANSWER_BYTES } from './daemon-client.ts';

export type Incidents = Static<typeof IncidentsAnswer>;
export type Status = Static<typeof StatusAnswer>;
export type Rejection = Static<typeof RejectionsAnswer>['rejections'][number];
/** Of each reason, what is shown here. */
const Sentences = Type.Object({
  reasons: Type.Array(Type.Object({ name: Type.String(), what: Type.String() })),
});
const SENTENCES = Compile(Sentences);
const STATUS = Compile(StatusAnswer);
const INCIDENTS = Compile(IncidentsAnswer);
const REJECTIONS = Compile(RejectionsAnswer);
const BUFFERS = Compile(BuffersAnswer);

/** What a daemon said, all of about the same moment. */
export interface Picture {
  status: Status;
  /** What was asked for: the rest is about that only, and `status` about the whole host. */
  asked: Asked;
  buffers: BufferView[];
  /** Buffers that there are, also those beyond what is asked for. */
  total: number;
  incidents: Incidents;
  /** The newest; and how many there were since the start, null where nothing counts them. */
  rejections: Rejection[];
  rejected: number | null;
  /** The sentence of each reason. */
  sentences: ReadonlyMap<string, string>;
}

export interface Asked {
  /** Query of one PCI device, or nothing. */
  device: string | undefined;
  state: 'live' | 'revoked' | undefined;
}

const MOST_BUFFERS = 10_000;
/** Those that are over too: what a critical one has let through is not undone by its end. */
const MOST_INCIDENTS = 10_000;
const MOST_REJECTIONS = 100;
/** What no counter tells of (holders, names) is asked for again after so many looks. */
const WHOLE_EVERY = 10;

/** Asks for the status at each look, and for the rest where the status tells of a change. */
export class Viewer {
  readonly #client: DaemonClient;
  readonly #asked: Asked;
  #last: Picture | undefined;
  #looks = 0;

  constructor(client: DaemonClient, asked: Asked) {
    this.#client = client;
    this.#asked = asked;
  }

  /** Forgets what was seen: after a lost connection it may be another daemon. */
  forget(): void {
    this.#last = undefined;
  }

  async look(signal: AbortSignal): Promise<Picture> {
    const status = await this.#client.json('/api/v1/status', STATUS, signal, SHORT_ANSWER_BYTES);
    const last = this.#last;
    this.#looks += 1;
    const unchanged = last !== undefined && this.#looks % WHOLE_EVERY !== 0 && same(last.status, status);
    this.#last = unchanged
      ? { ...last, status }
      : { status, asked: this.#asked, ...(await this.#whole(signal)) };
    return this.#last;
  }

  async #whole(signal: AbortSignal): Promise<Omit<Picture, 'status' | 'asked'>> {
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

/** The log has seen what is not counted yet; where it may have more than was asked for, only the counts tell. */
function rejectedOf(
  rejections: readonly Rejection[],
  { imports, exports }: Static<typeof RejectionsAnswer>['counts'],
): number | null {
  if (imports === null || exports === null)
    return rejections.length < MOST_REJECTIONS ? rejections.length : null;
  const counted = [...imports, ...exports].reduce((sum, { count }) => sum + count, 0);
  return Math.max(counted, rejections.length);
}

/** Whether nothing has happened that buffers, incidents or rejections tell of. */
function same(a: Status, b: Status): boolean {
  const told = ({ events_received, generation, buffer_state_exact, buffers, open_incidents }: Status) =>
    JSON.stringify([events_received, generation, buffer_state_exact, buffers, open_incidents]);
  return told(a) === told(b);
}
