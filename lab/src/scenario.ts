import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KernelEvent, Status } from '../../server/src/model/schema.ts';
import { type GuestDialect, GuestError } from './guest.ts';
import type { Lab } from './lab.ts';
import { contradictions, hear, type OracleCounts, oracleSince } from './oracle.ts';
import { compareStreams, sliceStream } from './recording.ts';
import { changed, type Samples, total } from './samples.ts';

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
  /** How often the kernel tells importers of a buffer that does not change: the oracle hears it, and nothing is counted. */
  toldAgain?: number;
}

/** Where a guest stands between two scenarios: the end of one is the start of the next. */
export interface Baseline {
  samples: Samples;
  heard: OracleCounts;
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

/** How a scenario ended that has not failed. */
export interface Proof {
  /** Its own part of the stream; undefined where the kernel skipped runs of the probes, so that something is missing. */
  stream: string[] | undefined;
  /** Runs of probes that the kernel skipped and the tracer reported. */
  skipped: number;
  after: Baseline;
}

/** Runs one scenario. @throws Error with all that differs from what the scenario expects and from what the oracle saw. */
export const prove = async (scenario: Scenario, lab: Lab, before: Baseline): Promise<Proof> => {
  const problems: string[] = [];
  await scenario.run(lab).catch(async (error: unknown) => {
    if (error instanceof GuestError) throw error;
    await lab.endSessions();
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  });
  const status = await lab.settle();
  const samples = await lab.samples();
  const delta = changed(before.samples, samples);
  const events = await lab.events(before.event);
  const oracleNow = await hear(lab.guest);
  const heard = oracleSince(before.heard, oracleNow);
  if (scenario.toldAgain !== undefined && heard.invalidate?.['0'] !== undefined)
    heard.invalidate['0'] -= scenario.toldAgain;

  const told = events.map((event, index) => pick(event, scenario.events[index] ?? event));
  problems.push(
    ...whatFails(() =>
      assert.deepEqual(contradictions(heard, delta), [], 'the independent oracle disagrees'),
    ),
    ...whatFails(() => assert.deepEqual(told, scenario.events, 'the events differ')),
    ...whatFails(() => assert.deepEqual(delta, sorted(scenario.metrics), 'the metrics differ')),
    ...whatFails(() => assert.equal(status.events_unaccounted, 0, 'events are unaccounted for')),
    ...whatFails(() => assert.equal(status.losses.kernel_ring, before.losses.kernel_ring, 'events are lost')),
  );
  const skipped = await judge(lab, before.losses, problems, { heard, delta });
  const line = lab.linesRead();
  return {
    stream: skipped > 0 ? undefined : sliceStream(lab.stream().slice(0, line), before.line),
    skipped,
    after: {
      samples,
      heard: oracleNow,
      losses: status.losses,
      event: events.at(-1)?.seq ?? before.event,
      line,
    },
  };
};

/** Runs of probes that the kernel has skipped since these losses were reported, as the tracer says, which reads that every 10 s. */
export const missedSince = async (lab: Lab, losses: Status['losses']): Promise<number> => {
  await sleep(12_000);
  const { losses: now } = await lab.status();
  return (now.probe_missed ?? 0) - (losses.probe_missed ?? 0);
};

/**
 * Resolves with 0 where there are no problems. Where there are, the kernel may have skipped runs of the probes: if the tracer
 * reported that, and no more is missing than it reported, its counts are the lower bound that it says they are, and this resolves
 * with the number of skipped runs. @throws Error with the problems in any other case.
 */
export const judge = async (
  lab: Lab,
  losses: Status['losses'],
  problems: readonly string[],
  { heard, delta }: { heard: OracleCounts; delta: Readonly<Record<string, number>> },
): Promise<number> => {
  if (problems.length === 0) return 0;
  const skipped = await missedSince(lab, losses);
  if (skipped > 0 && contradictions(heard, delta, skipped).length === 0) return skipped;
  const errors = total(await lab.samples(), 'helper_errors_total');
  const { losses: now } = await lab.status();
  throw new Error(
    `${problems.join('\n')}\nlosses ${JSON.stringify(now)}, helper errors ${errors}, skipped runs ${skipped}`,
  );
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
