import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KernelEvent } from '../../server/src/contract/events.ts';
import type { Status } from '../../server/src/contract/status.ts';
import { type GuestDialect, GuestError } from './guest.ts';
import type { Lab } from './lab.ts';
import { contradictions, type OracleCounts, oracleSince, readOracle } from './oracle.ts';
import { compareStreams, sliceStream } from './recording.ts';
import { changed, type Samples, total } from './samples.ts';

/** An expected event. Only the fields that are named here are compared. */
export type ExpectedEvent = Partial<KernelEvent> & { kind: KernelEvent['kind'] };

/** One row of the truth table: what the kernel does, and what the tracer must report. */
export interface Scenario {
  name: string;
  /** One sentence for the log. */
  title: string;
  dialect: GuestDialect;
  /** Makes the kernel do it. May also assert on the state in between. */
  run(lab: Lab): Promise<void>;
  /** Every sample that changes, and its difference. No other sample may change. */
  metrics: Readonly<Record<string, number>>;
  /** All events, in order. */
  events: readonly ExpectedEvent[];
  /**
   * How often the kernel notifies the importers of an unchanged buffer. The oracle counts these calls, the tracer does
   * not.
   */
  repeatedInvalidations?: number;
}

/** State of a guest between two scenarios: the end of one is the start of the next. */
export interface Baseline {
  samples: Samples;
  recorded: OracleCounts;
  losses: Status['losses'];
  /** Sequence number of the last event. */
  event: number;
  /** Number of lines of the stream up to the counter read that the samples come from. */
  line: number;
}

/** Waits until the guest has settled, and returns its baseline. */
export async function baselineOf(lab: Lab): Promise<Baseline> {
  const { losses } = await lab.settle();
  return {
    samples: await lab.samples(),
    recorded: await readOracle(lab.guest),
    losses,
    event: (await lab.events(0)).at(-1)?.seq ?? 0,
    line: lab.linesRead(),
  };
}

/** Result of a scenario that passed. */
export interface ScenarioResult {
  /** The scenario's part of the stream; undefined if the kernel skipped probe runs, so that it is incomplete. */
  stream: string[] | undefined;
  /** Probe runs that the kernel skipped and the tracer reported. */
  skipped: number;
  after: Baseline;
}

/**
 * Runs one scenario. @throws Error with all differences from what the scenario expects and from the oracle's counts.
 */
export async function runScenario(scenario: Scenario, lab: Lab, before: Baseline): Promise<ScenarioResult> {
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
  const oracleNow = await readOracle(lab.guest);
  const recorded = oracleSince(before.recorded, oracleNow);
  if (scenario.repeatedInvalidations !== undefined && recorded.invalidate?.['0'] !== undefined)
    recorded.invalidate['0'] -= scenario.repeatedInvalidations;

  const reported = events.map((event, index) => pick(event, scenario.events[index] ?? event));
  problems.push(
    ...failuresOf(() =>
      assert.deepEqual(contradictions(recorded, delta), [], 'the independent oracle disagrees'),
    ),
    ...failuresOf(() => assert.deepEqual(reported, scenario.events, 'the events differ')),
    ...failuresOf(() => assert.deepEqual(delta, sorted(scenario.metrics), 'the metrics differ')),
    ...failuresOf(() => assert.equal(status.events_unaccounted, 0, 'events are unaccounted for')),
    ...failuresOf(() =>
      assert.equal(status.losses.kernel_ring, before.losses.kernel_ring, 'events are lost'),
    ),
  );
  const skipped = await acceptSkippedRuns(lab, before.losses, problems, { recorded, delta });
  const line = lab.linesRead();
  return {
    stream: skipped > 0 ? undefined : sliceStream(lab.stream().slice(0, line), before.line),
    skipped,
    after: {
      samples,
      recorded: oracleNow,
      losses: status.losses,
      event: events.at(-1)?.seq ?? before.event,
      line,
    },
  };
}

/**
 * Probe runs that the kernel skipped since these losses were reported. Waits 12 s, because the tracer reads them every
 * 10 s.
 */
export async function missedSince(lab: Lab, losses: Status['losses']): Promise<number> {
  await sleep(12_000);
  const { losses: now } = await lab.status();
  return (now.probe_missed ?? 0) - (losses.probe_missed ?? 0);
}

/**
 * Decides whether skipped probe runs explain the problems. Resolves with 0 if the list is empty. Resolves with the
 * number of skipped runs if the tracer reported skipped runs and no more calls than that are missing: its counts are
 * then the lower bound that it reports. @throws Error with the problems otherwise.
 */
export async function acceptSkippedRuns(
  lab: Lab,
  losses: Status['losses'],
  problems: readonly string[],
  { recorded, delta }: { recorded: OracleCounts; delta: Readonly<Record<string, number>> },
): Promise<number> {
  if (problems.length === 0) return 0;
  const skipped = await missedSince(lab, losses);
  if (skipped > 0 && contradictions(recorded, delta, skipped).length === 0) return skipped;
  const errors = total(await lab.samples(), 'helper_errors_total');
  const { losses: now } = await lab.status();
  throw new Error(
    `${problems.join('\n')}\nlosses ${JSON.stringify(now)}, helper errors ${errors}, skipped probe runs ${skipped}`,
  );
}

/** The message of an assertion that fails; empty if it passes. */
function failuresOf(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

function pick(event: KernelEvent, wanted: object): object {
  return Object.fromEntries(Object.keys(wanted).map((key) => [key, event[key as keyof KernelEvent]]));
}

function sorted(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @throws AssertionError if the stream differs from the committed recording of the scenario. */
export function assertSameStream(recorded: readonly string[], fresh: readonly string[]): void {
  const differences = compareStreams(recorded, fresh);
  assert.deepEqual(differences, [], 'the stream differs from the recording');
}
