import { wantedBy } from '../bpftrace/compiler/compose.ts';
import { loadFragments } from '../bpftrace/compiler/fragment.ts';
import { inspectHost } from '../bpftrace/facts.ts';
import { composeForHost } from '../bpftrace/plan.ts';
import { findGuard } from '../bpftrace/process/launch.ts';
import { tryTaskset } from '../host/processors.ts';
import { inspectSurroundings } from '../host/surroundings.ts';
import { systemClock } from '../lib/clock.ts';
import { VERSION } from '../lib/package-version.ts';
import { probesDirectory } from '../lib/probes-directory.ts';
import { wantsColor } from './color.ts';
import type { CommandContext } from './commands.ts';
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

/** Checks everything that tracing needs on this host. Changes nothing, and runs helper programs only with --version. */
export async function diagnose(options: DiagnoseOptions): Promise<Diagnosis> {
  const { procRoot = '/proc', sysRoot = '/sys', etcRoot, bpftrace, searchPath, uid, node, wallMs } = options;
  const fragments = await loadFragments(probesDirectory());
  const facts = await inspectHost({
    wanted: wantedBy(fragments),
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
  const checks = examine({ facts, surroundings, plan, guard, taskset, node, wallMs });
  return {
    version: VERSION,
    kernel: facts.kernel,
    dialect: plan.runnable ? plan.composed.dialect : plan.dialect,
    traceable: checks.every(({ state }) => state !== 'missing'),
    checks,
  };
}

export async function doctor({ config, host, json, stdout, env }: CommandContext): Promise<ExitCode> {
  const diagnosis = await diagnose({
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
  return diagnosis.traceable ? EXIT.ok : EXIT.failure;
}
