import { writeFile } from 'node:fs/promises';
import { type Wanted, wantedBy } from '../bpftrace/compiler/compose.ts';
import { loadFragments } from '../bpftrace/compiler/fragment.ts';
import { type HostFacts, inspectHost } from '../bpftrace/facts.ts';
import { formatFacts } from '../bpftrace/facts-file.ts';
import { composeForHost, OBSTACLES } from '../bpftrace/plan.ts';
import { findGuard } from '../bpftrace/process/launch.ts';
import { tryTaskset } from '../host/processors.ts';
import { inspectSurroundings } from '../host/surroundings.ts';
import { systemClock } from '../lib/clock.ts';
import { errnoOf } from '../lib/errno.ts';
import { TracerError } from '../lib/errors.ts';
import { VERSION } from '../lib/package-version.ts';
import { probesDirectory } from '../lib/probes-directory.ts';
import { wantsColor } from './color.ts';
import type { CommandContext } from './command.ts';
import { examine } from './doctor/checks.ts';
import type { Diagnosis } from './doctor/diagnosis.ts';
import { report } from './doctor/report.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { print, printJson } from './output.ts';

export interface DiagnoseOptions {
  bpftrace: string;
  /** Value of PATH, in which bpftrace, setpriv and taskset are searched. */
  searchPath: string;
  procRoot?: string | undefined;
  sysRoot?: string | undefined;
  etcRoot?: string | undefined;
  uid?: number | undefined;
  node: string;
  wallMs: number;
}

export interface Examined {
  diagnosis: Diagnosis;
  facts: HostFacts;
  /** The names that were looked up on the host. */
  wanted: Wanted;
}

/** Checks everything that tracing needs on this host. Changes nothing, and runs helper programs only with --version. */
export async function diagnose(options: DiagnoseOptions): Promise<Examined> {
  const { procRoot = '/proc', sysRoot = '/sys', etcRoot, bpftrace, searchPath, uid, node, wallMs } = options;
  const fragments = await loadFragments(probesDirectory());
  const wanted = wantedBy(fragments);
  const facts = await inspectHost({
    wanted,
    bpftrace,
    searchPath,
    procRoot,
    sysRoot,
    ...(etcRoot === undefined ? {} : { etcRoot }),
    ...(uid === undefined ? {} : { uid }),
  });
  const plan = composeForHost(facts, fragments);
  const surroundings = await inspectSurroundings({ procRoot, sysRoot, etcRoot });
  const guard = await findGuard(searchPath);
  const taskset = await tryTaskset(searchPath);
  const checks = examine({ facts, surroundings, plan, fragments, guard, taskset, node, wallMs });
  const diagnosis = {
    version: VERSION,
    kernel: facts.kernel,
    dialect: plan.runnable ? plan.composed.dialect : plan.dialect,
    traceable: checks.every(({ state }) => state !== 'missing'),
    checks,
  };
  return { diagnosis, facts, wanted };
}

export async function doctor({
  config,
  host,
  json,
  options,
  stdout,
  env,
}: CommandContext): Promise<ExitCode> {
  const { diagnosis, facts, wanted } = await diagnose({
    bpftrace: config['bpftrace.path'],
    searchPath: env.PATH ?? '',
    procRoot: host?.procRoot,
    sysRoot: host?.sysRoot,
    etcRoot: host?.etcRoot,
    uid: host?.uid,
    node: process.versions.node,
    wallMs: systemClock.wallMs(),
  });
  if (json) await printJson(stdout, JSON.stringify(diagnosis, null, 2));
  else {
    const columns = stdout.isTTY ? stdout.columns : undefined;
    await print(stdout, ...report(diagnosis, { color: wantsColor(stdout, env), columns }));
  }
  const path = options['facts-out'];
  if (path !== undefined) await writeFacts(path, facts, wanted);
  return diagnosis.traceable ? EXIT.ok : EXIT.failure;
}

/** What prevents that the functions and members of this host are known. */
const OBSTACLES_TO_FACTS = [OBSTACLES.readable, OBSTACLES.btf, OBSTACLES.privilege, OBSTACLES.tracefs];

async function writeFacts(path: string, facts: HostFacts, wanted: Wanted): Promise<void> {
  for (const find of OBSTACLES_TO_FACTS) {
    const failure = find(facts);
    if (failure === null) continue;
    const message = `the facts of this host are not known, so ${path} was not written: ${failure.message}`;
    throw new TracerError('file_unwritable', message, { remedy: failure.remedy });
  }
  try {
    await writeFile(path, formatFacts(facts, wanted), { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    const exists = errnoOf(cause) === 'EEXIST';
    const message = exists ? 'the file exists and is kept' : `the facts cannot be written: ${errnoOf(cause)}`;
    const remedy = exists ? 'name another file, or remove it' : 'name a file in a folder that can be written';
    throw new TracerError('file_unwritable', message, { where: path, remedy, cause });
  }
}
