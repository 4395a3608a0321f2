import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { busyHour } from './busy-hour.ts';
import { CELLS, type Cell, EVERYDAY_CELLS, nameOf, USUAL_KERNEL } from './cells.ts';
import { cost } from './cost.ts';
import { type DemoOptions, demo } from './demo.ts';
import { type Group, type GroupOptions, type Outcome, runGroup } from './groups.ts';
import { GUEST_DIALECTS, GuestError } from './guest.ts';
import { KERNELS } from './kernels.ts';
import { Lab } from './lab.ts';
import { keepResults, resultOf } from './matrix.ts';
import { log } from './progress.ts';
import { screenshots } from './screenshots.ts';
import { run } from './shell.ts';
import { shellIn } from './terminal.ts';
import { SUITES } from './tree.ts';
import type { Trial } from './trial.ts';
import { TRIALS } from './trials.ts';
import { isEveryday, SCENARIOS, scenarioOn } from './truth-table.ts';

const USAGE = `Usage: npm run lab -- WHAT [--kernel SERIES] [--guest trixie|sid] [--dialect DIALECT] [--update] [--keep]

  NAME…         runs these scenarios and trials on one kernel and user space, each with the dialect that it needs;
                --keep then opens a shell in the guest on this terminal, and its daemon keeps serving
  all           runs every scenario and every trial at least once, on the everyday cells (docs/testing.md)
  list          lists the scenarios and trials
  exec FILE…    copies the files into a guest and runs the first one while the daemon traces; writes its output, the
                stream and the metrics to ./lab-out
  matrix        runs every scenario on every cell (kernel x user space x dialect) and writes docs/kernels.md;
                --cell 7.2/sid runs only the cells whose names begin with that
  busy-hour     records a busy host into recordings/; --minutes N (default 60) is its length in guest time
  cost          measures what tracing costs a call, in instructions, next to other tracers; writes docs/performance.json
  screenshots   writes the screenshots in docs/images, from the page of a guest that shares memory in several ways
  shell         opens a shell in a guest (the program is in /lab/dist, the workloads in /lab/bin)

  --kernel      kernel of the guest: ${KERNELS.join(', ')} (default ${USUAL_KERNEL})
  --guest       user space of the guest, which determines its bpftrace: trixie (default) or sid
  --dialect     dialect of the guest's vfio-pci-core: ${GUEST_DIALECTS.join(', ')}
  --update      writes the recordings of the scenarios instead of comparing with them`;

/**
 * Groups the scenarios and trials of all cells by guest. The longest group comes first, so that no long one runs alone
 * at the end.
 */
function groupsOf(wanted: (name: string) => boolean, cells: readonly Cell[], everyday = false): Group[] {
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
      ...(['untraced', 'systemd'] as const).map((guest) => ({
        ...{ cell, of: guest, traces: false, scenarios: [], trials: of(guest) },
      })),
    ];
  });
  const weight = ({ scenarios, trials }: Group): number =>
    scenarios.length +
    trials.reduce((sum, { guest }) => sum + (guest === 'own' || guest === 'systemd' ? 60 : 10), 0);
  return groups.filter((group) => weight(group) > 0).sort((a, b) => weight(b) - weight(a));
}

/**
 * Runs a group. If its guest was lost, runs the rest in a second guest, and reports the crash: an emulated machine does
 * not always survive when its kernel patches its code. If the second guest is lost too, the group fails.
 */
async function runGroupTwice(group: Group, options: GroupOptions): Promise<Outcome> {
  const first = await runGroup(group, options);
  if (!first.lost) return first;
  log(`${nameOf(group.cell)}: the guest was lost; running in another guest: ${first.failed.join(', ')}`);
  const isLeft = ({ name }: { name: string }): boolean => !first.passed.includes(name);
  const left = { ...group, scenarios: group.scenarios.filter(isLeft), trials: group.trials.filter(isLeft) };
  const second = await runGroup(left, options);
  return {
    ...second,
    passed: [...new Set([...first.passed, ...second.passed])],
    crashed: [...first.crashed, ...first.failed.slice(0, 1), ...second.crashed],
    inexact: [...first.inexact, ...second.inexact],
  };
}

/** Runs the demo. If the guest was lost, logs the end of its console and runs the demo in another guest. */
async function demoTwice(options: DemoOptions): Promise<number> {
  try {
    return await demo(options);
  } catch (error) {
    if (!(error instanceof GuestError)) throw error;
    log(`the guest was lost; starting another one: ${error.message}`);
    return demo(options);
  }
}

/**
 * Guests that run at the same time, for two cores. With three, compiling the probes takes longer than the daemon waits.
 */
const GUESTS = 2;

/** Runs groups, `GUESTS` at a time. Calls `done` with each outcome. */
async function runGroups(
  groups: Group[],
  options: Omit<GroupOptions, 'log'>,
  done: (outcome: Outcome) => void = () => {},
): Promise<number> {
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
  if (inexact.length > 0) log(`passed although the kernel skipped probe runs: ${inexact.join(', ')}`);
  const crashed = named((outcome) => outcome.crashed);
  if (crashed.length > 0) log(`running when a guest crashed: ${crashed.join(', ')}`);
  console.log(
    `guests replaced after a crash: ${crashed.length}; passed with skipped probe runs: ${inexact.length}`,
  );
  console.log(`lab: ${passed} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
}

/** Runs the truth table on the cells whose names begin with `prefix`, and writes the results to docs/. */
async function matrix(prefix: string): Promise<number> {
  const cells = CELLS.filter((cell) => `${nameOf(cell)}/`.startsWith(`${prefix}/`) || prefix === '');
  if (cells.length === 0)
    throw new Error(`--cell ${prefix}: no cell has this name; all cells: ${CELLS.map(nameOf).join(' ')}`);
  // A kernel without VFIO dma-buf export runs only the trial of what the daemon reports there.
  const wanted = new Set([...SCENARIOS.map(({ name }) => name), 'no-vfio-dmabuf']);
  return runGroups(
    groupsOf((name) => wanted.has(name), cells),
    { update: false },
    // A guest that did not boot or that hung is not a result for the kernel.
    (outcome) => !outcome.lost && outcome.release !== '' && keepResults([resultOf(outcome)]),
  );
}

/** Copies the files of a folder in the guest into a folder on this machine. */
async function fetchFolder(lab: Lab, from: string, to: string): Promise<void> {
  const packed = join(to, '.fetched.tar');
  writeFileSync(packed, Buffer.from(await lab.command(`tar cf - -C ${from} . | base64`), 'base64'));
  await run('tar', ['xf', packed, '-C', to, '--no-same-owner']);
  rmSync(packed);
}

async function exec(files: readonly string[], cell: Cell): Promise<number> {
  const [first] = files;
  if (first === undefined) throw new Error(`exec: FILE is missing\n${USAGE}`);
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
    await fetchFolder(lab, '/out', directory);
    await lab.stopDaemon();
    writeFileSync(join(directory, 'stream.ndjson'), `${lab.stream().join('\n')}\n`);
    writeFileSync(join(directory, 'daemon.log'), lab.daemonLog());
    process.stdout.write(output);
    log(
      `exit ${status}; output, metrics, stream.ndjson, daemon.log and the files of /out are in ${directory}`,
    );
    return status;
  } finally {
    await lab.close();
  }
}

async function shell(cell: Cell): Promise<number> {
  const lab = await Lab.open({ ...cell, log });
  try {
    log('a shell in the guest; see /lab/bin and /lab/dist; exit ends it');
    await shellIn(lab);
    return 0;
  } finally {
    await lab.close();
  }
}

/** The value of an option with a fixed set of values. @throws Error that lists them. */
function oneOf<T extends string>(option: string, value: string, known: readonly T[]): T {
  const found = known.find((name) => name === value);
  if (found === undefined) throw new Error(`--${option} ${value}: must be one of ${known.join(', ')}`);
  return found;
}

function minutesOf(text: string): number {
  const minutes = Number(text);
  if (!(minutes > 0)) throw new Error(`--minutes ${text}: must be a number above 0`);
  return minutes;
}

const GUEST_OPTIONS = ['kernel', 'guest', 'dialect'];
/** The options of each command. Any other first argument is the name of a scenario or trial. */
const OPTIONS_OF: Readonly<Record<string, readonly string[]>> = {
  list: [],
  exec: GUEST_OPTIONS,
  shell: GUEST_OPTIONS,
  matrix: ['cell'],
  'busy-hour': ['minutes'],
  cost: [],
  screenshots: [],
  demo: ['once'],
};

/** @throws Error for arguments that the command would ignore. */
function checkArguments(what: string, options: readonly string[], operands: readonly string[]): void {
  const known = OPTIONS_OF[what] ?? [...GUEST_OPTIONS, 'update', 'keep'];
  const unknown = options.filter((option) => !known.includes(option)).map((option) => `--${option}`);
  if (what in OPTIONS_OF && what !== 'exec') unknown.push(...operands);
  if (unknown.length === 0) return;
  const list = known.map((option) => `--${option}`).join(', ');
  throw new Error(`${what} does not accept ${unknown.join(', ')}; its options: ${list || 'none'}`);
}

async function main(): Promise<number> {
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
  checkArguments(what, Object.keys(values), rest);
  const update = values.update ?? false;
  const chosen = {
    kernel: oneOf('kernel', values.kernel ?? USUAL_KERNEL, KERNELS),
    suite: oneOf('guest', values.guest ?? 'trixie', SUITES),
    dialect: oneOf('dialect', values.dialect ?? 'mainline', GUEST_DIALECTS),
  };
  if (what === 'list') {
    for (const { name, title } of [...SCENARIOS, ...TRIALS]) console.log(`${name.padEnd(32)} ${title}`);
    return 0;
  }
  if (what === 'exec') return exec(rest, chosen);
  if (what === 'shell') return shell(chosen);
  if (what === 'matrix') return matrix(values.cell ?? '');
  if (what === 'busy-hour') return busyHour(minutesOf(values.minutes ?? '60'), log);
  if (what === 'cost') return cost(log);
  if (what === 'screenshots') return screenshots(log);
  if (what === 'demo') return demoTwice({ once: values.once ?? false, log });
  const known = new Set(['all', ...[...SCENARIOS, ...TRIALS].map(({ name }) => name)]);
  const unknown = positionals.filter((name) => !known.has(name));
  if (unknown.length > 0)
    throw new Error(`unknown scenario or trial: ${unknown.join(', ')}; \`npm run lab -- list\` lists them`);
  const all = what === 'all' && !update;
  const among = all ? EVERYDAY_CELLS : CELLS;
  const cells = among.filter(
    ({ kernel, suite, dialect }) =>
      (kernel === chosen.kernel || (all && values.kernel === undefined)) &&
      (suite === chosen.suite || (all && values.guest === undefined)) &&
      // Without --dialect a scenario runs only on its dialect. `legacy` would also run the mainline scenarios, so it
      // needs --dialect.
      (values.dialect === undefined ? all || dialect !== 'legacy' : dialect === chosen.dialect),
  );
  const groups = groupsOf((name) => what === 'all' || positionals.includes(name), cells, all);
  if (values.keep && groups.length !== 1) {
    const where = groups.map(({ cell }) => nameOf(cell)).join(', ');
    throw new Error(
      `--keep needs exactly one guest, and this would start ${groups.length} (${where}): add --kernel, --guest or --dialect`,
    );
  }
  if (groups.length === 0)
    throw new Error(
      `${positionals.join(', ')}: cannot run on this kernel, user space and dialect; change --kernel, --guest or --dialect`,
    );
  return runGroups(groups, { update, keeps: values.keep ?? false });
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
