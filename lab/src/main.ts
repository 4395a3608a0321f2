import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { busyHour } from './busy-hour.ts';
import { CELLS, type Cell, EVERYDAY_CELLS, nameOf, USUAL_KERNEL } from './cells.ts';
import { type DemoOptions, demo } from './demo.ts';
import { type Group, type GroupOptions, type Outcome, runGroup } from './groups.ts';
import { GUEST_DIALECTS, GuestError } from './guest.ts';
import { KERNELS } from './kernels.ts';
import { Lab } from './lab.ts';
import { keepResults, resultOf } from './matrix.ts';
import { screenshots } from './screenshots.ts';
import { shellIn } from './terminal.ts';
import { SUITES } from './tree.ts';
import type { Trial } from './trial.ts';
import { TRIALS } from './trials.ts';
import { isEveryday, SCENARIOS, scenarioOn } from './truth-table.ts';

const USAGE = `Usage: npm run lab -- WHAT [--kernel SERIES] [--guest trixie|sid] [--dialect DIALECT] [--update] [--keep]

  NAME…         scenarios or trials by name, each where it belongs; with --keep the guest of the last one stays, with a
                shell on this terminal, and its daemon can be asked
  all           every scenario on both user spaces and every trial, and on the other kernels what differs there
  list          their names
  exec FILE…    copies the files in, runs the first with the daemon tracing, and leaves its output, the stream and the
                metrics in ./lab-out
  matrix        the truth table on every cell: kernel x user space x dialect; writes docs/kernels.md. --cell 7.2/sid tries
                those of that name, one by one
  busy-hour     records a host at work into recordings/, for as many --minutes
  screenshots   takes the pictures of docs/images from the page of a guest that shares memory in every way
  shell         a shell in the guest (the program is in /lab/dist, the workloads in /lab/bin)

  --kernel      ${KERNELS.join(', ')}: the usual one is ${USUAL_KERNEL}
  --guest       user space of the guest, which brings its bpftrace: trixie (default) or sid
  --dialect     what the kernel's vfio-pci-core speaks: ${GUEST_DIALECTS.join(', ')}
  --update      writes the recordings of the scenarios anew`;

const started = Date.now();
const log = (line: string): void => {
  console.log(`${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s  ${line}`);
};

/** What a cell is asked: its scenarios and trials, by guest. The longest come first, so that none is left at the end. */
const groupsOf = (wanted: (name: string) => boolean, cells: readonly Cell[], everyday = false): Group[] => {
  const groups = cells.flatMap((cell): Group[] => {
    const scenarios = SCENARIOS.flatMap((scenario) =>
      wanted(scenario.name) && (!everyday || isEveryday(scenario, cell))
        ? (scenarioOn(scenario, cell) ?? [])
        : [],
    );
    const trials = TRIALS.filter(
      (trial) => wanted(trial.name) && trial.belongs(cell) && (!everyday || (trial.everyday?.(cell) ?? true)),
    );
    const of = (guest: Trial['guest']): Trial[] => trials.filter((trial) => trial.guest === guest);
    return [
      ...of('own').map((trial) => ({ cell, of: trial.name, traces: true, scenarios: [], trials: [trial] })),
      { cell, of: 'scenarios', traces: true, scenarios, trials: [] },
      { cell, of: 'trials', traces: true, scenarios: [], trials: of(undefined) },
      { cell, of: 'untraced', traces: false, scenarios: [], trials: of('untraced') },
    ];
  });
  const weight = ({ scenarios, trials }: Group): number =>
    scenarios.length + trials.reduce((sum, { guest }) => sum + (guest === 'own' ? 60 : 10), 0);
  return groups.filter((group) => weight(group) > 0).sort((a, b) => weight(b) - weight(a));
};

/**
 * Runs a group, and what it has not passed once more in another guest where the first was lost: an emulated machine does not always
 * survive what patches its kernel's text. That is told; a guest that is lost again has failed.
 */
const runGroupTwice = async (group: Group, options: GroupOptions): Promise<Outcome> => {
  const first = await runGroup(group, options);
  if (!first.lost) return first;
  log(`${nameOf(group.cell)}: the guest was lost; once more, in another: ${first.failed.join(', ')}`);
  const isLeft = ({ name }: { name: string }): boolean => !first.passed.includes(name);
  const left = { ...group, scenarios: group.scenarios.filter(isLeft), trials: group.trials.filter(isLeft) };
  const second = await runGroup(left, options);
  return {
    ...second,
    passed: [...new Set([...first.passed, ...second.passed])],
    crashed: [...first.crashed, ...first.failed.slice(0, 1), ...second.crashed],
    inexact: [...first.inexact, ...second.inexact],
  };
};

/** Runs the demo, and once more from its beginning where the guest was lost, which is told with the console's last lines. */
const demoTwice = async (options: DemoOptions): Promise<number> => {
  try {
    return await demo(options);
  } catch (error) {
    if (!(error instanceof GuestError)) throw error;
    log(`the guest was lost; once more, in another: ${error.message}`);
    return demo(options);
  }
};

/** Guests that run at a time, for two cores: with three, compiling the probes takes longer than a daemon waits for it. */
const GUESTS = 2;

/** Runs groups, some guests at a time; `done` gets each outcome as it comes. */
const runGroups = async (
  groups: Group[],
  options: Omit<GroupOptions, 'log'>,
  done: (outcome: Outcome) => void = () => {},
): Promise<number> => {
  const outcomes: Outcome[] = [];
  const worker = async (): Promise<void> => {
    for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
      const outcome = await runGroupTwice(group, { ...options, log });
      outcomes.push(outcome);
      done(outcome);
    }
  };
  await Promise.all(Array.from({ length: GUESTS }, worker));
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed.length, 0);
  const named = (of: (outcome: Outcome) => string[]): string[] =>
    outcomes.flatMap((outcome) => of(outcome).map((name) => `${nameOf(outcome.cell)}: ${name}`));
  const failed = named((outcome) => outcome.failed);
  for (const name of failed) log(`failed: ${name}`);
  const inexact = named((outcome) => outcome.inexact);
  if (inexact.length > 0) log(`judged with skipped runs of probes: ${inexact.join(', ')}`);
  const crashed = named((outcome) => outcome.crashed);
  if (crashed.length > 0) log(`crashed while it ran: ${crashed.join(', ')}`);
  console.log(
    `guests replaced after a crash: ${crashed.length}; judged with skipped runs of probes: ${inexact.length}`,
  );
  console.log(`lab: ${passed} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
};

/** Runs the truth table on the cells whose name begins so, and keeps what came of it in docs/. */
const matrix = async (prefix: string): Promise<number> => {
  const cells = CELLS.filter((cell) => `${nameOf(cell)}/`.startsWith(`${prefix}/`) || prefix === '');
  if (cells.length === 0)
    throw new Error(`--cell ${prefix}: there is none of that name; all: ${CELLS.map(nameOf).join(' ')}`);
  // Where there is no truth table to be asked, what the daemon says of that is the one row.
  const wanted = new Set([...SCENARIOS.map(({ name }) => name), 'no-vfio-dmabuf']);
  return runGroups(
    groupsOf((name) => wanted.has(name), cells),
    { update: false },
    // A guest that did not boot, or hung, says nothing of the kernel.
    (outcome) => !outcome.lost && outcome.release !== '' && keepResults([resultOf(outcome)]),
  );
};

const exec = async (files: readonly string[], cell: Cell): Promise<number> => {
  const [first] = files;
  if (first === undefined) throw new Error(`exec: no FILE is named\n${USAGE}`);
  for (const file of files) if (!existsSync(file)) throw new Error(`exec: ${file} does not exist`);
  const lab = await Lab.open({ ...cell, log, files });
  try {
    await lab.startDaemon();
    const { status, output } = await lab.guest.run(
      `mkdir -p /out; cd /lab/files && ./${basename(first)}`,
      600,
    );
    await lab.settle();
    const directory = 'lab-out';
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'output'), output);
    writeFileSync(join(directory, 'metrics'), (await lab.get('/metrics')).body);
    await lab.fetchFolder('/out', directory);
    await lab.stopDaemon();
    writeFileSync(join(directory, 'stream.ndjson'), `${lab.stream().join('\n')}\n`);
    writeFileSync(join(directory, 'daemon.log'), lab.daemonLog());
    process.stdout.write(output);
    log(
      `exit ${status}; output, metrics, stream.ndjson, daemon.log and what was left in /out are in ${directory}`,
    );
    return status;
  } finally {
    await lab.close();
  }
};

const shell = async (cell: Cell): Promise<number> => {
  const lab = await Lab.open({ ...cell, log });
  try {
    log('a shell in the guest: /lab/bin, /lab/dist; exit ends it');
    await shellIn(lab);
    return 0;
  } finally {
    await lab.close();
  }
};

/** One of a closed set that an option names, or an error that says which there are. */
const oneOf = <T extends string>(option: string, value: string, known: readonly T[]): T => {
  const found = known.find((name) => name === value);
  if (found === undefined) throw new Error(`--${option} ${value}: it is one of ${known.join(', ')}`);
  return found;
};

const minutesOf = (text: string): number => {
  const minutes = Number(text);
  if (!(minutes > 0)) throw new Error(`--minutes ${text}: it is a number above 0`);
  return minutes;
};

const OF_A_GUEST = ['kernel', 'guest', 'dialect'];
/** The options that a verb knows; what is none of these names scenarios and trials. */
const TAKES: Readonly<Record<string, readonly string[]>> = {
  list: [],
  exec: OF_A_GUEST,
  shell: OF_A_GUEST,
  matrix: ['cell'],
  'busy-hour': ['minutes'],
  screenshots: [],
  demo: ['once'],
};

/** Rejects what the verb would not heed. */
const checkTaken = (what: string, options: readonly string[], operands: readonly string[]): void => {
  const takes = TAKES[what] ?? [...OF_A_GUEST, 'update', 'keep'];
  const strange = options.filter((option) => !takes.includes(option)).map((option) => `--${option}`);
  if (what in TAKES && what !== 'exec') strange.push(...operands);
  if (strange.length === 0) return;
  const taken = takes.map((option) => `--${option}`).join(', ');
  throw new Error(`${what} does not take ${strange.join(', ')}, but ${taken || 'no option'}`);
};

const main = async (): Promise<number> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      kernel: { type: 'string' },
      guest: { type: 'string' },
      cell: { type: 'string' },
      dialect: { type: 'string' },
      minutes: { type: 'string' },
      update: { type: 'boolean' },
      keep: { type: 'boolean' },
      once: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const [what, ...rest] = positionals;
  if (values.help || what === undefined) {
    console.log(USAGE);
    return what === undefined && !values.help ? 2 : 0;
  }
  checkTaken(what, Object.keys(values), rest);
  const update = values.update ?? false;
  const wish = {
    kernel: oneOf('kernel', values.kernel ?? USUAL_KERNEL, KERNELS),
    suite: oneOf('guest', values.guest ?? 'trixie', SUITES),
    dialect: oneOf('dialect', values.dialect ?? 'mainline', GUEST_DIALECTS),
  };
  if (what === 'list') {
    for (const { name, title } of [...SCENARIOS, ...TRIALS]) console.log(`${name.padEnd(32)} ${title}`);
    return 0;
  }
  if (what === 'exec') return exec(rest, wish);
  if (what === 'shell') return shell(wish);
  if (what === 'matrix') return matrix(values.cell ?? '');
  if (what === 'busy-hour') return busyHour(minutesOf(values.minutes ?? '60'), log);
  if (what === 'screenshots') return screenshots(log);
  if (what === 'demo') return demoTwice({ once: values.once ?? false, log });
  const known = new Set(['all', ...[...SCENARIOS, ...TRIALS].map(({ name }) => name)]);
  const unknown = positionals.filter((name) => !known.has(name));
  if (unknown.length > 0)
    throw new Error(`there is no scenario ${unknown.join(', ')}: see npm run lab -- list`);
  const all = what === 'all' && !update;
  const among = all ? EVERYDAY_CELLS : CELLS;
  const cells = among.filter(
    ({ kernel, suite, dialect }) =>
      (kernel === wish.kernel || (all && values.kernel === undefined)) &&
      (suite === wish.suite || (all && values.guest === undefined)) &&
      // A row's own dialect is meant where none is named, and not that of 6.19, which takes the mainline's rows.
      (values.dialect === undefined ? all || dialect !== 'legacy' : dialect === wish.dialect),
  );
  const groups = groupsOf((name) => what === 'all' || positionals.includes(name), cells, all);
  if (values.keep && groups.length !== 1) {
    const where = groups.map(({ cell }) => nameOf(cell)).join(', ');
    throw new Error(
      `--keep keeps one guest, and this runs in ${groups.length} (${where}): add --kernel, --guest or --dialect`,
    );
  }
  if (groups.length === 0)
    throw new Error(`${positionals.join(', ')}: belongs to another kernel, user space or dialect`);
  return runGroups(groups, { update, keeps: values.keep ?? false });
};

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
