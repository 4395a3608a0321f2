import { compose, wantedBy } from '../bpftrace/compiler/compose.ts';
import { loadFragments } from '../bpftrace/compiler/fragment.ts';
import { inspectHost } from '../bpftrace/facts.ts';
import { composeForHost } from '../bpftrace/plan.ts';
import { TracerError } from '../lib/errors.ts';
import { probesDirectory } from '../lib/probes-directory.ts';
import type { CommandContext } from './command.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { print, printData } from './output.ts';

/** Prints the program to stdout, so that it can be piped into bpftrace, and the missing probes to stderr. */
export async function probes(context: CommandContext): Promise<ExitCode> {
  const fragments = await loadFragments(probesDirectory());
  const facts = await inspectHost({
    wanted: wantedBy(fragments),
    bpftrace: context.config['bpftrace.path'],
  });
  const { program, probes: states, dialect } = compose(facts, fragments);
  const plan = composeForHost(facts, fragments);
  const version = facts.bpftraceVersion?.join('.') ?? 'none';
  const lines = [`kernel ${facts.kernel}, dialect ${dialect}, bpftrace ${version}`];
  if (!plan.runnable) {
    const { message, remedy } = plan.failure;
    const error = new TracerError('host_untraceable', `this host cannot be traced: ${message}`, { remedy });
    lines.push(error.describe());
  }
  const missing = states.filter((state) => !state.attached);
  lines.push(`${states.length - missing.length} of ${states.length} probes fit this kernel`);
  for (const state of missing) {
    lines.push(`  missing: ${state.probe} (${state.function}): ${state.reason ?? 'no reason known'}`);
  }
  if (plan.runnable && 'reason' in plan.oneshot) lines.push(`  no snapshots: ${plan.oneshot.reason}`);
  await print(context.stderr, `${lines.join('\n')}\n`);
  await printData(context.stdout, program);
  return EXIT.ok;
}
