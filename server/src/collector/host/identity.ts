import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { readStat } from './proc.ts';

export interface VmIdentity {
  /** `qemu`, ... or null where the command is no known VMM. */
  vmm: string | null;
  name: string | null;
  uuid: string | null;
}

export interface ProcessFacts extends VmIdentity {
  pid: number;
  start_ticks: number;
  comm: string;
}

const UNKNOWN: VmIdentity = { vmm: null, name: null, uuid: null };
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NAME_LENGTH = 128;

/** Who a process is; null where it is gone. Of its command line only name and UUID of the VM are handed on. */
export async function readProcess(procRoot: string, pid: number): Promise<ProcessFacts | null> {
  const before = await readStat(procRoot, pid);
  if (before === null) return null;
  const line = await readFile(join(procRoot, String(pid), 'cmdline'), 'utf8').catch(() => '');
  const after = await readStat(procRoot, pid);
  // The pid has passed to another process between the two reads.
  if (after !== null && after.startTicks !== before.startTicks) return null;
  return { pid, start_ticks: before.startTicks, comm: before.comm, ...identifyVm(line.split('\0')) };
}

/** Reads VMM, name and UUID from a command line. */
export function identifyVm(argv: readonly string[]): VmIdentity {
  const command = basename(argv[0] ?? '');
  if (/^(?:qemu-system-[\w-]+|qemu-kvm|kvm)$/.test(command)) return identifyQemu(argv);
  const vmm = ['cloud-hypervisor', 'crosvm', 'firecracker', 'openvmm'].find((known) => command === known);
  return vmm === undefined ? UNKNOWN : { ...UNKNOWN, vmm };
}

function identifyQemu(argv: readonly string[]): VmIdentity {
  const name = splitQemuOptions(lastValue(argv, 'name') ?? '');
  const guest = name.find((part) => part.startsWith('guest='))?.slice('guest='.length);
  const first = name[0] ?? '';
  const plain = first.includes('=') ? undefined : first;
  const uuid = lastValue(argv, 'uuid');
  return {
    vmm: 'qemu',
    name: clean(guest ?? plain),
    uuid: uuid !== undefined && UUID.test(uuid) ? uuid.toLowerCase() : null,
  };
}

/** QEMU takes `-name X` and `--name X`; the last one counts. */
function lastValue(argv: readonly string[], option: string): string | undefined {
  let value: string | undefined;
  for (let index = 1; index < argv.length - 1; index++) {
    if (argv[index] === `-${option}` || argv[index] === `--${option}`) value = argv[index + 1];
  }
  return value;
}

/** `a=b,c` -> parts; a comma inside a value is doubled. */
function splitQemuOptions(text: string): string[] {
  return text
    .replaceAll(',,', '\0')
    .split(',')
    .map((part) => part.replaceAll('\0', ','));
}

function clean(name: string | undefined): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the name comes from another process
  const text = (name ?? '').replace(/[\u0000-\u001f\u007f]/g, ' ').trim();
  return text === '' ? null : text.slice(0, NAME_LENGTH);
}
