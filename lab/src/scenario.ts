import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KernelEvent, Status } from '../../server/src/model/schema.ts';
import { type GuestDialect, GuestError } from './guest.ts';
import type { Lab } from './lab.ts';
import { compareStreams, sliceStream } from './recording.ts';
import { changed, type Samples, total } from './samples.ts';
import { contradictions, hear, heardSince, type Testimony } from './witness.ts';

/** An event that must come: the fields named here, whatever the others are. */
export type ExpectedEvent = Partial<KernelEvent> & { kind: KernelEvent['kind'] };

/** One row of the truth table: what the kernel is made to do, and what must be told of it. */
export interface Scenario {
  name: string;
  /** One sentence for the report. */
  title: string;
  dialect: GuestDialect;
  /** Makes the kernel do it; asserts on the state in between where that matters. */
  run(lab: Lab): Promise<void>;
  /** Every sample that changes, and by how much; none other may. */
  metrics: Readonly<Record<string, number>>;
  /** Every event, in order; none other may come. */
  events: readonly ExpectedEvent[];
  /** How often the kernel tells importers of a buffer that does not change: the witness hears it, and nothing is counted. */
  toldAgain?: number;
}

/** The kernel skipped runs of the probes meanwhile, and the tracer said so itself: what it counted cannot be judged. */
export class MissedRuns extends Error {
  override name = 'MissedRuns';
}

/** Where a guest stands between two scenarios: the end of one is the start of the next. */
export interface Baseline {
  samples: Samples;
  heard: Testimony;
  losses: Status['losses'];
  /** Number of the last event. */
  event: number;
  /** Lines of the stream up to the read of the counters that the samples come from. */
  line: number;
}

/** Takes the baseline of a guest that has settled. */
export const baselineOf = async (lab: Lab): Promise<Baseline> => {
  const { losses } = await lab.settle();
  return {
    samples: await lab.samples(),
    heard: await hear(lab.guest),
    losses,
    event: (await lab.events(0)).at(-1)?.seq ?? 0,
    line: lab.linesRead(),
  };
};

/** Runs one scenario; resolves with its own part of the stream and where it left the guest. Throws with all that differs. */
export const prove = async (
  scenario: Scenario,
  lab: Lab,
  before: Baseline,
): Promise<{ stream: string[]; after: Baseline }> => {
  const { losses } = before;
  await scenario.run(lab).catch(async (error: unknown) => {
    if (error instanceof GuestError) throw error;
    await lab.endSessions();
    await judge(lab, losses, [error instanceof Error ? (error.stack ?? error.message) : String(error)]);
  });
  const status = await lab.settle();
  const samples = await lab.samples();
  const delta = changed(before.samples, samples);
  const events = await lab.events(before.event);
  const heardNow = await hear(lab.guest);
  const heard = heardSince(before.heard, heardNow);
  if (scenario.toldAgain !== undefined && heard.invalidate?.['0'] !== undefined)
    heard.invalidate['0'] -= scenario.toldAgain;

  const told = events.map((event, index) => pick(event, scenario.events[index] ?? event));
  const problems = [
    ...whatFails(() =>
      assert.deepEqual(contradictions(heard, delta), [], 'the independent witness disagrees'),
    ),
    ...whatFails(() => assert.deepEqual(told, scenario.events, 'the events differ')),
    ...whatFails(() => assert.deepEqual(delta, sorted(scenario.metrics), 'the metrics differ')),
    ...whatFails(() => assert.equal(status.events_unaccounted, 0, 'events are unaccounted for')),
    ...whatFails(() => assert.equal(status.losses.kernel_ring, losses.kernel_ring, 'events are lost')),
  ];
  await judge(lab, losses, problems);
  const line = lab.linesRead();
  return {
    stream: sliceStream(lab.stream().slice(0, line), before.line),
    after: {
      samples,
      heard: heardNow,
      losses: status.losses,
      event: events.at(-1)?.seq ?? before.event,
      line,
    },
  };
};

/** Runs of probes that the kernel has skipped since these losses were told, as the tracer says, which reads that every 10 s. */
export const missedSince = async (lab: Lab, losses: Status['losses']): Promise<number> => {
  await sleep(12_000);
  const { losses: now } = await lab.status();
  return (now.probe_missed ?? 0) - (losses.probe_missed ?? 0);
};

/** Throws where there are problems: MissedRuns where the kernel has skipped runs of the probes since these losses were told. */
export const judge = async (
  lab: Lab,
  losses: Status['losses'],
  problems: readonly string[],
): Promise<void> => {
  if (problems.length === 0) return;
  const missed = await missedSince(lab, losses);
  const errors = total(await lab.samples(), 'helper_errors_total');
  const { losses: now } = await lab.status();
  const text = `${problems.join('\n')}\nlosses ${JSON.stringify(now)}, helper errors ${errors}`;
  if (missed === 0) throw new Error(text);
  throw new MissedRuns(`${missed} runs of probes were skipped by the kernel, as the tracer says\n${text}`);
};

/** What an assertion says where it does not hold. */
const whatFails = (check: () => void): string[] => {
  try {
    check();
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
};

const pick = (event: KernelEvent, wanted: object): object =>
  Object.fromEntries(Object.keys(wanted).map((key) => [key, event[key as keyof KernelEvent]]));

const sorted = (metrics: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(metrics).sort(([a], [b]) => (a < b ? -1 : 1)));

/** Throws where a stream no longer says what the committed recording of the scenario says. */
export const assertSameStory = (recorded: readonly string[], fresh: readonly string[]): void => {
  const differences = compareStreams(recorded, fresh);
  assert.deepEqual(differences, [], 'the recording is not what the kernel says now');
};
