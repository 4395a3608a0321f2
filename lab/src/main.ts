import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { demo } from './demo.ts';
import { GUEST_DIALECTS, Guest, type GuestDialect, GuestError } from './guest.ts';
import { ensureImage } from './image.ts';
import { Lab } from './lab.ts';
import { assertSameStory, MissedRuns, prove, type Scenario } from './scenario.ts';
import { EXPORTS } from './scenarios/exports.ts';
import { IMPORTERS } from './scenarios/importers.ts';
import { LIFETIMES } from './scenarios/lifetimes.ts';
import { PRIVATE } from './scenarios/private.ts';
import { REVOCATIONS } from './scenarios/revocations.ts';
import { run } from './shell.ts';
import { makeStage } from './stage.ts';
import { SUITES, type Suite } from './tree.ts';
import { TRIALS, type Trial } from './trials.ts';

const SCENARIOS: readonly Scenario[] = [...EXPORTS, ...IMPORTERS, ...REVOCATIONS, ...LIFETIMES, ...PRIVATE];
const REPOSITORY = join(import.meta.dirname, '../..');
const RECORDINGS = join(REPOSITORY, 'recordings');

const USAGE = `Usage: npm run lab -- WHAT [--guest trixie|sid] [--update]

  NAME…         scenarios or trials by name
  all           every scenario on both user spaces, and every trial
  list          their names
  exec FILE…    copies the files in, runs the first with the daemon tracing, and leaves its output, the stream and the
                metrics in ./lab-out
  shell         a shell in the guest (the program is in /lab/dist, the workloads in /lab/bin)

  --guest       user space of the guest, which brings its bpftrace: trixie (default) or sid
  --dialect     kernel of exec and shell: mainline (default), private-v1, private-v2
  --update      writes the recordings of the scenarios anew`;

const started = Date.now();
const log = (line: string): void => {
  console.log(`${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s  ${line}`);
};

interface Tally {
  passed: number;
  failed: string[];
}

/** Runs one thing and notes how it ended. */
const attempt = async (
  name: string,
  title: string,
  tally: Tally,
  action: () => Promise<void>,
): Promise<void> => {
  const begun = Date.now();
  try {
    await action();
    tally.passed++;
    log(`ok      ${name}: ${title} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  } catch (error) {
    tally.failed.push(name);
    log(
      `FAILED  ${name}: ${title}\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }
};

const recordingOf = (scenario: Scenario): string => join(RECORDINGS, `${scenario.name}.ndjson`);

const keepRecording = async (scenario: Scenario, lines: readonly string[]): Promise<void> => {
  const file = recordingOf(scenario);
  writeFileSync(file, `${lines.join('\n')}\n`);
  const program = join(REPOSITORY, 'dist/vfio-dmabuf-tracer.mjs');
  writeFileSync(
    file.replace('.ndjson', '.metrics'),
    // From its own folder: the name of the recording is in the metrics, the path of this machine shall not be.
    await run(process.execPath, [program, 'replay', basename(file), '--print', 'metrics'], {
      cwd: RECORDINGS,
    }),
  );
};

interface Group {
  suite: Suite;
  dialect: GuestDialect;
  scenarios: readonly Scenario[];
  trials: readonly Trial[];
}

/** Boots one guest and runs in it what belongs to it. */
const runGroup = async (
  { suite, dialect, scenarios, trials }: Group,
  update: boolean,
  tally: Tally,
): Promise<void> => {
  const where = `${suite}/${dialect}`;
  // An emulated machine on loaded processors may miss its kernel's patience at boot: that is tried once more, and told.
  const lab = await Lab.open({ suite, dialect, log })
    .catch((error: unknown) => {
      if (!(error instanceof GuestError)) throw error;
      log(`${where}: the boot failed and is tried once more: ${error.message}`);
      return Lab.open({ suite, dialect, log });
    })
    .catch((error: unknown) => {
      tally.failed.push(`${where}: boot`);
      log(`FAILED  ${where}: ${error instanceof Error ? error.message : String(error)}`);
    });
  if (lab === undefined) return;
  try {
    await attempt(
      `${where}: start`,
      'the daemon is ready and has taken its first snapshot',
      tally,
      async () => {
        await lab.startDaemon();
        await lab.until('the first snapshot', 120, async () => (await lab.status()).picture_exact);
      },
    );
    for (const scenario of scenarios) {
      await attempt(`${where}: ${scenario.name}`, scenario.title, tally, async () => {
        const stream = await prove(scenario, lab).catch((error: unknown) => {
          if (!(error instanceof MissedRuns)) throw error;
          log(`${where}: ${scenario.name}: ${error.message}\nonce more`);
          return prove(scenario, lab);
        });
        if (update) await keepRecording(scenario, stream);
        else if (!existsSync(recordingOf(scenario)))
          throw new Error('it has no recording: run it with --update');
        else assertSameStory(readFileSync(recordingOf(scenario), 'utf8').trimEnd().split('\n'), stream);
      });
    }
    for (const trial of trials) {
      await attempt(`${where}: ${trial.name}`, trial.title, tally, () =>
        trial.run(lab, (line) => log(`        ${line}`)),
      );
    }
  } finally {
    if (tally.failed.some((name) => name.startsWith(where)))
      log(`the daemon's last words:\n${lab.daemonLog()}`);
    await lab.close();
  }
};

const groupsOf = (names: readonly string[], suites: readonly Suite[]): Group[] => {
  const all = names.includes('all');
  const wanted = (name: string): boolean => all || names.includes(name);
  return suites.flatMap((suite) =>
    GUEST_DIALECTS.flatMap((dialect) => {
      const scenarios = SCENARIOS.filter((scenario) => scenario.dialect === dialect && wanted(scenario.name));
      const trials = dialect === 'mainline' ? TRIALS.filter((trial) => wanted(trial.name)) : [];
      return scenarios.length + trials.length === 0 ? [] : [{ suite, dialect, scenarios, trials }];
    }),
  );
};

const exec = async (files: readonly string[], suite: Suite, dialect: GuestDialect): Promise<number> => {
  const [first] = files;
  if (first === undefined) throw new Error(`exec: no FILE is named\n${USAGE}`);
  for (const file of files) if (!existsSync(file)) throw new Error(`exec: ${file} does not exist`);
  const lab = await Lab.open({ suite, dialect, log, files });
  try {
    await lab.startDaemon();
    const { status, output } = await lab.guest.run(`cd /lab/files && ./${basename(first)}`, 600);
    await lab.settle();
    const directory = 'lab-out';
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'output'), output);
    writeFileSync(join(directory, 'metrics'), (await lab.get('/metrics')).body);
    await lab.stopDaemon();
    for (const file of readdirSync(lab.stage.out))
      copyFileSync(join(lab.stage.out, file), join(directory, file));
    process.stdout.write(output);
    log(`exit ${status}; output, metrics, stream.ndjson and daemon.log are in ${directory}`);
    return status;
  } finally {
    await lab.close();
  }
};

const shell = async (suite: Suite, dialect: GuestDialect): Promise<number> => {
  const image = await ensureImage(suite, log);
  const stage = makeStage(image);
  const guest = new Guest({ image, dialect, share: stage.share, out: stage.out, shell: true });
  try {
    await guest.start();
    return 0;
  } finally {
    await guest.stop();
    stage.remove();
  }
};

const main = async (): Promise<number> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      guest: { type: 'string' },
      dialect: { type: 'string', default: 'mainline' },
      update: { type: 'boolean', default: false },
      once: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [what, ...rest] = positionals;
  const suite = SUITES.find((name) => name === (values.guest ?? 'trixie'));
  const dialect = GUEST_DIALECTS.find((name) => name === values.dialect);
  if (suite === undefined) throw new Error(`--guest ${values.guest}: it is one of ${SUITES.join(', ')}`);
  if (dialect === undefined)
    throw new Error(`--dialect ${values.dialect}: it is one of ${GUEST_DIALECTS.join(', ')}`);
  if (values.help || what === undefined) {
    console.log(USAGE);
    return what === undefined && !values.help ? 2 : 0;
  }
  if (what === 'list') {
    for (const { name, title } of [...SCENARIOS, ...TRIALS]) console.log(`${name.padEnd(32)} ${title}`);
    return 0;
  }
  if (what === 'exec') return exec(rest, suite, dialect);
  if (what === 'shell') return shell(suite, dialect);
  if (what === 'demo') return demo({ once: values.once, log });
  const known = new Set(['all', ...[...SCENARIOS, ...TRIALS].map(({ name }) => name)]);
  const unknown = positionals.filter((name) => !known.has(name));
  if (unknown.length > 0)
    throw new Error(`there is no scenario ${unknown.join(', ')}: see npm run lab -- list`);
  const suites = values.guest === undefined && what === 'all' && !values.update ? SUITES : [suite];
  const tally: Tally = { passed: 0, failed: [] };
  // Two guests at a time: a scenario mostly waits for the next read of the counters.
  const groups = groupsOf(positionals, suites);
  const worker = async (): Promise<void> => {
    for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
      await runGroup(group, values.update, tally);
    }
  };
  await Promise.all([worker(), worker()]);
  for (const name of tally.failed) log(`failed: ${name}`);
  console.log(`lab: ${tally.passed} passed, ${tally.failed.length} failed`);
  return tally.failed.length === 0 ? 0 : 1;
};

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
