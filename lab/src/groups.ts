import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Cell, nameOf, USUAL_KERNEL } from './cells.ts';
import { withDebianPackages } from './debian-packages.ts';
import { GuestError } from './guest.ts';
import { Lab } from './lab.ts';
import { assertSameStream, type Baseline, baselineOf, runScenario, type Scenario } from './scenario.ts';
import { run } from './shell.ts';
import { PROGRAM } from './stage.ts';
import { shellIn } from './terminal.ts';
import type { Trial } from './trial.ts';

type Log = (line: string) => void;

export const RECORDINGS = join(import.meta.dirname, '../../recordings');

/** `uname -r` and the version of bpftrace in a guest. */
export async function versionsOf(lab: Lab): Promise<{ release: string; bpftrace: string }> {
  const output = await lab.command('uname -r; bpftrace --version');
  const [release = '', bpftrace = ''] = output.replaceAll(/bpftrace v/g, '').split('\n');
  return { release, bpftrace };
}

/** Scenarios and trials that run in one guest. */
export interface Group {
  cell: Cell;
  /** Distinguishes this guest from others of the cell: a trial's name, `scenarios`, `trials`, `untraced` or `systemd`. */
  of: string;
  /** A collector is started before the scenarios and trials. */
  traces: boolean;
  scenarios: readonly Scenario[];
  trials: readonly Trial[];
}

export interface GroupOptions {
  /** Writes recordings instead of comparing with them. */
  update: boolean;
  /** Opens a shell in the guest on this terminal at the end. */
  keeps?: boolean;
  log: Log;
}

/** Results of one guest. */
export interface Outcome {
  cell: Cell;
  /** `uname -r` and the version of bpftrace; both are empty if the guest did not boot. */
  release: string;
  bpftrace: string;
  passed: string[];
  failed: string[];
  /** The guest no longer answers. */
  lost: boolean;
  /** Scenarios and trials that were running when a guest crashed and was replaced. */
  crashed: string[];
  /** Scenarios in which the kernel skipped probe runs: the tracer reported that its counts were a lower bound. */
  inexact: string[];
}

/** Runs one scenario or trial and records the result. If the guest no longer answers, it fails without being run. */
async function attempt(
  outcome: Outcome,
  name: string,
  title: string,
  log: Log,
  action: () => Promise<void>,
): Promise<void> {
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
}

function recordingOf(scenario: Scenario): string {
  return join(RECORDINGS, `${scenario.name}.ndjson`);
}

/** Replays a recording and writes its metrics next to it. */
export async function keepMetrics(recording: string): Promise<void> {
  const program = join(PROGRAM, 'vfio-dmabuf-tracer.mjs');
  writeFileSync(
    join(RECORDINGS, recording.replace(/\.ndjson(\.gz)?$/, '.metrics')),
    // The metrics contain the recording's path. Run in its folder, so that they contain only its name.
    await run(process.execPath, [program, 'replay', recording, '--print', 'metrics'], { cwd: RECORDINGS }),
  );
}

async function keepRecording(scenario: Scenario, lines: readonly string[]): Promise<void> {
  const file = recordingOf(scenario);
  writeFileSync(file, `${lines.join('\n')}\n`);
  await keepMetrics(basename(file));
}

/**
 * Only the usual kernel with the scenario's dialect is compared with the recording. Other cells compare events and
 * metrics.
 */
function isRecorded({ kernel, dialect }: Cell, scenario: Scenario): boolean {
  return kernel === USUAL_KERNEL && dialect === scenario.dialect;
}

/** Boots one guest and runs its scenarios and trials. */
export async function runGroup(
  { cell, of, traces, scenarios, trials }: Group,
  { update, keeps = false, log }: GroupOptions,
): Promise<Outcome> {
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
  const open = (): Promise<Lab> => {
    if (traces) return Lab.tracing({ ...cell, log });
    if (of !== 'systemd') return Lab.open({ ...cell, log });
    return withDebianPackages((files) => Lab.open({ ...cell, systemd: true, files, log }), log);
  };
  let lab: Lab | undefined;
  const title = traces ? 'the daemon is ready and has its first snapshot' : 'the guest boots';
  await attempt(outcome, `${traces ? 'start' : 'boot'} (${of})`, title, log, async () => {
    // On a loaded machine an emulated guest may run into a timeout of its kernel at boot. The lab retries once and
    // counts it.
    lab = await open().catch((error: unknown) => {
      if (!(error instanceof GuestError)) throw error;
      outcome.crashed.push('boot');
      log(`${where}: the guest crashed; starting another one: ${error.message}`);
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
    Object.assign(outcome, await versionsOf(guest));
    let baseline: Baseline | undefined;
    for (const scenario of scenarios) {
      await attempt(outcome, scenario.name, scenario.title, log, async () => {
        const before = baseline ?? (await baselineOf(guest));
        baseline = undefined;
        const { stream, skipped, after } = await runScenario(scenario, guest, before);
        baseline = after;
        if (stream === undefined) {
          if (update)
            throw new Error(
              `the kernel skipped ${skipped} probe runs, so this recording would be incomplete: run it again`,
            );
          outcome.inexact.push(scenario.name);
          log(
            `${where}: ${scenario.name}: the kernel skipped ${skipped} probe runs; no more calls than that are missing`,
          );
          return;
        }
        if (!isRecorded(cell, scenario)) return;
        if (update) await keepRecording(scenario, stream);
        else if (!existsSync(recordingOf(scenario)))
          throw new Error('the scenario has no recording: run it with --update');
        else assertSameStream(readFileSync(recordingOf(scenario), 'utf8').trimEnd().split('\n'), stream);
      });
    }
    for (const trial of trials) {
      await attempt(outcome, trial.name, trial.title, log, () =>
        trial.run(guest, (line) => log(`        ${line}`)),
      );
    }
  } finally {
    if (outcome.failed.length > 0) log(`the end of the daemon's log:\n${guest.daemonLog()}`);
    if (keeps && !outcome.lost) {
      log(`the guest runs until you exit its shell; its daemon answers at ${guest.url}`);
      await shellIn(guest);
    }
    await guest.close();
  }
  return outcome;
}
