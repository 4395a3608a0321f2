import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Cell, nameOf, USUAL_KERNEL } from './cells.ts';
import { GuestError } from './guest.ts';
import { Lab } from './lab.ts';
import { assertSameStory, type Baseline, baselineOf, prove, type Scenario } from './scenario.ts';
import { run } from './shell.ts';
import { PROGRAM } from './stage.ts';
import { shellIn } from './terminal.ts';
import type { Trial } from './trial.ts';

type Log = (line: string) => void;

export const RECORDINGS = join(import.meta.dirname, '../../recordings');

/** What runs in one guest. */
export interface Group {
  cell: Cell;
  /** What sets this guest apart from others of the cell. */
  of: string;
  /** A collector traces in it from the beginning. */
  traces: boolean;
  scenarios: readonly Scenario[];
  trials: readonly Trial[];
}

export interface GroupOptions {
  /** Writes recordings instead of comparing with them. */
  update: boolean;
  /** At the end, a shell in the guest on this terminal. */
  keeps?: boolean;
  log: Log;
}

/** How the things of one guest ended. */
export interface Outcome {
  cell: Cell;
  /** `uname -r` and the version of bpftrace; empty where the guest did not boot. */
  release: string;
  bpftrace: string;
  passed: string[];
  failed: string[];
  /** The guest has stopped to answer. */
  lost: boolean;
  /** What was running when a guest crashed and was replaced. */
  crashed: string[];
  /** Scenarios in which the kernel skipped runs of the probes, so that the counts were a lower bound, as the tracer said. */
  inexact: string[];
}

/** Runs one thing and notes how it ended; nothing is asked of a guest that has stopped to answer. */
const attempt = async (
  outcome: Outcome,
  name: string,
  title: string,
  log: Log,
  action: () => Promise<void>,
): Promise<void> => {
  const { cell, passed, failed } = outcome;
  const begun = Date.now();
  const where = `${nameOf(cell)}: ${name}`;
  try {
    if (outcome.lost) throw new Error('not run: the guest no longer answers');
    await action();
    passed.push(name);
    log(`ok      ${where}: ${title} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed.push(name);
    if (error instanceof GuestError) outcome.lost = true;
    log(
      `FAILED  ${where}: ${title}\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }
};

const recordingOf = (scenario: Scenario): string => join(RECORDINGS, `${scenario.name}.ndjson`);

/** Writes the metrics that a recording comes to beside it. */
export const keepMetrics = async (recording: string): Promise<void> => {
  const program = join(PROGRAM, 'vfio-dmabuf-tracer.mjs');
  writeFileSync(
    join(RECORDINGS, recording.replace(/\.ndjson(\.gz)?$/, '.metrics')),
    // From its own folder: the name of the recording is in the metrics, the path of this machine shall not be.
    await run(process.execPath, [program, 'replay', recording, '--print', 'metrics'], { cwd: RECORDINGS }),
  );
};

const keepRecording = async (scenario: Scenario, lines: readonly string[]): Promise<void> => {
  const file = recordingOf(scenario);
  writeFileSync(file, `${lines.join('\n')}\n`);
  await keepMetrics(basename(file));
};

/** Recordings are made on the usual kernel, in the dialect of the scenario: elsewhere the same events and metrics suffice. */
const isRecorded = ({ kernel, dialect }: Cell, scenario: Scenario): boolean =>
  kernel === USUAL_KERNEL && dialect === scenario.dialect;

/** Boots one guest and runs in it what belongs to it. */
export const runGroup = async (
  { cell, of, traces, scenarios, trials }: Group,
  { update, keeps = false, log }: GroupOptions,
): Promise<Outcome> => {
  const where = nameOf(cell);
  const outcome: Outcome = {
    cell,
    release: '',
    bpftrace: '',
    passed: [],
    failed: [],
    lost: false,
    crashed: [],
    inexact: [],
  };
  const open = (): Promise<Lab> => (traces ? Lab.tracing({ ...cell, log }) : Lab.open({ ...cell, log }));
  let lab: Lab | undefined;
  const title = traces ? 'the daemon is ready and has taken its first snapshot' : 'the guest runs';
  await attempt(outcome, `${traces ? 'start' : 'boot'} (${of})`, title, log, async () => {
    // An emulated machine on loaded processors may miss its kernel's patience at boot: that is tried once more, and counted.
    lab = await open().catch((error: unknown) => {
      if (!(error instanceof GuestError)) throw error;
      outcome.crashed.push('boot');
      log(`${where}: the guest crashed and is started once more: ${error.message}`);
      return open();
    });
    if (!traces) return;
    const { probes } = await lab.status();
    const rejected = probes.filter(({ reason }) => reason?.startsWith('bpftrace rejected'));
    assert.deepEqual(rejected, [], 'bpftrace has rejected probes');
  });
  if (lab === undefined) return outcome;
  const guest = lab;
  try {
    const versions = await guest.command('uname -r; bpftrace --version');
    [outcome.release = '', outcome.bpftrace = ''] = versions.replaceAll(/bpftrace v/g, '').split('\n');
    let baseline: Baseline | undefined;
    for (const scenario of scenarios) {
      await attempt(outcome, scenario.name, scenario.title, log, async () => {
        const before = baseline ?? (await baselineOf(guest));
        baseline = undefined;
        const { stream, skipped, after } = await prove(scenario, guest, before);
        baseline = after;
        if (stream === undefined) {
          if (update)
            throw new Error(
              `the kernel skipped ${skipped} runs of probes: a recording must have all of them`,
            );
          outcome.inexact.push(scenario.name);
          log(
            `${where}: ${scenario.name}: the kernel skipped ${skipped} runs of probes; no more than that is missing`,
          );
          return;
        }
        if (!isRecorded(cell, scenario)) return;
        if (update) await keepRecording(scenario, stream);
        else if (!existsSync(recordingOf(scenario)))
          throw new Error('it has no recording: run it with --update');
        else assertSameStory(readFileSync(recordingOf(scenario), 'utf8').trimEnd().split('\n'), stream);
      });
    }
    for (const trial of trials) {
      await attempt(outcome, trial.name, trial.title, log, () =>
        trial.run(guest, (line) => log(`        ${line}`)),
      );
    }
  } finally {
    if (outcome.failed.length > 0) log(`the daemon's last words:\n${guest.daemonLog()}`);
    if (keeps && !outcome.lost) {
      log(`the guest stays until its shell ends (exit); its daemon answers at ${guest.url}`);
      await shellIn(guest);
    }
    await guest.close();
  }
  return outcome;
};
