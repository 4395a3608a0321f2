import { readFile } from 'node:fs/promises';
import { CHANGES, compose, composeOneshot, wantedBy } from '../bpftrace/compiler/compose.ts';
import { loadFragments } from '../bpftrace/compiler/fragment.ts';
import type { FragmentSet } from '../bpftrace/compiler/fragment-set.ts';
import { inspectHost } from '../bpftrace/facts.ts';
import { type KernelFacts, parseFacts } from '../bpftrace/facts-file.ts';
import { composeForHost } from '../bpftrace/plan.ts';
import { errnoOf } from '../lib/errno.ts';
import { TracerError } from '../lib/errors.ts';
import { probesDirectory } from '../lib/probes-directory.ts';
import { didYouMean } from '../lib/suggest.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { print, printData } from './output.ts';

/** What to print about a host: the facts, and lines about what it cannot do. */
interface Host {
  facts: KernelFacts;
  obstacle?: TracerError;
  noSnapshots?: string;
}

/** Prints the program to stdout, so that it can be piped into bpftrace, and the missing probes to stderr. */
export async function probes(context: CommandContext): Promise<ExitCode> {
  const fragments = await loadFragments(probesDirectory());
  const file = context.options.facts;
  const { facts, obstacle, noSnapshots } =
    file === undefined ? await thisHost(context, fragments) : await otherHost(file, fragments);
  const excluded = othersThan(context.options.only, fragments);
  const { program, probes: all, dialect } = compose(facts, fragments, excluded);
  const states = all.filter(({ probe }) => !excluded.has(probe));
  const version = facts.bpftraceVersion?.join('.') ?? 'none';
  const lines = [`kernel ${facts.kernel}, dialect ${dialect}, bpftrace ${version}`];
  if (obstacle !== undefined) lines.push(obstacle.describe(), '  `doctor` lists everything that is missing');
  const missing = states.filter((state) => !state.attached);
  lines.push(`${states.length - missing.length} of ${states.length} probes fit this kernel`);
  for (const state of missing) {
    lines.push(`  missing: ${state.probe} (${state.function}): ${state.reason ?? 'no reason known'}`);
  }
  if (noSnapshots !== undefined) lines.push(`  no snapshots: ${noSnapshots}`);
  await print(context.stderr, `${lines.join('\n')}\n`);
  await printData(context.stdout, `${CHANGES.map((line) => `// ${line}\n`).join('')}\n${program}`);
  return EXIT.ok;
}

/** The fragments that `--only` leaves out, with the reason. */
function othersThan(only: string | undefined, { probes }: FragmentSet): ReadonlyMap<string, string> {
  if (only === undefined) return new Map();
  const known = probes.map(({ name }) => name);
  const wanted = only.split(',');
  const unknown = wanted.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const remedy = didYouMean(unknown, known);
    throw new TracerError('bad_usage', `there is no probe ${unknown}`, { where: '--only', remedy });
  }
  return new Map(known.filter((name) => !wanted.includes(name)).map((name) => [name, 'not in --only']));
}

async function thisHost({ config }: CommandContext, fragments: FragmentSet): Promise<Host> {
  const facts = await inspectHost({ wanted: wantedBy(fragments), bpftrace: config['bpftrace.path'] });
  const plan = composeForHost(facts, fragments);
  if (plan.runnable) return { facts, ...('reason' in plan.oneshot && { noSnapshots: plan.oneshot.reason }) };
  const { message, remedy } = plan.failure;
  const obstacle = new TracerError('host_untraceable', `this host cannot be traced: ${message}`, { remedy });
  return { facts, obstacle };
}

async function otherHost(path: string, fragments: FragmentSet): Promise<Host> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const message = `the file of facts cannot be read: ${errnoOf(cause)}`;
    throw new TracerError('file_unreadable', message, { where: path, remedy: 'check the path', cause });
  });
  const facts = parseFacts(text, path, wantedBy(fragments));
  const snapshot = composeOneshot('snapshot', facts, fragments);
  return { facts, ...('reason' in snapshot && { noSnapshots: snapshot.reason }) };
}
