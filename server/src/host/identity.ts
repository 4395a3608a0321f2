import { readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isDenied, orAbsent } from '../lib/errno.ts';
import { identifyCgroup } from './cgroup.ts';
import { type ContainerNames, readContainerNames } from './container-names.ts';
import { readStat } from './proc.ts';
import { identifyVm } from './vmm.ts';

/** The identity of a process, as in the line `process` of the stream (docs/stream.md). */
export interface ProcessFacts extends ContainerNames {
  pid: number;
  start_ticks: number;
  comm: string;
  /** `qemu`, ...; null if it is not a known VMM. */
  vmm: string | null;
  /** Name and UUID of the VM that it runs. */
  name: string | null;
  uuid: string | null;
  /** The process, if `pid` is another of its threads. */
  tgid?: number;
  name_source?: 'command_line' | 'cgroup';
  /** The systemd scope of the VM, unescaped. */
  scope?: string;
  pod_uid?: string;
  container_id?: string;
}

/**
 * Reads the identity of a process; null if it has ended. Of the command line, only name and UUID of the VM are passed
 * on; of the control group, only names and ids of VM, pod and container; of the runtime's files, only the names of pod and
 * container. Files without read permission are left out.
 *
 * @param pid of the process, or of one of its threads: /proc opens both
 * @throws if it cannot be read now: it may be alive
 */
export async function readProcess(procRoot: string, pid: number): Promise<ProcessFacts | null> {
  const before = await readStat(procRoot, pid);
  if (before === null) return null;
  const text = (name: string): Promise<string> =>
    orAbsent(readFile(join(procRoot, String(pid), name), 'utf8'), '').catch((error: unknown) => {
      if (isDenied(error)) return '';
      throw error;
    });
  const tgid = Number(/^Tgid:\s*(\d+)$/m.exec(await text('status'))?.[1] ?? pid);
  // The kernel has released the task since its stat was read: task_tgid_nr_ns() gives 0.
  if (tgid === 0) return null;
  const executable = await readlink(join(procRoot, String(pid), 'exe')).catch(() => '');
  const { vmm, name, uuid } = identifyVm((await text('cmdline')).split('\0'), executable);
  const { machine, ...group } = identifyCgroup(await text('cgroup'));
  const names = await readContainerNames(procRoot, pid, group);
  const after = await readStat(procRoot, pid);
  // Another process got the pid between the two reads.
  if (after !== null && after.startTicks !== before.startTicks) return null;
  const facts: ProcessFacts = {
    pid,
    start_ticks: before.startTicks,
    comm: before.comm,
    vmm,
    name: name ?? (vmm === null ? null : (machine ?? null)),
    uuid,
    ...group,
    ...names,
  };
  if (tgid !== pid) facts.tgid = tgid;
  if (facts.name !== null) facts.name_source = name === null ? 'cgroup' : 'command_line';
  return facts;
}
