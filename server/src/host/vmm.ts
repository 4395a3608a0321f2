import { basename } from 'node:path';

export interface VmIdentity {
  /** `vmm` of an entry in VMMS, e.g. `qemu`; null if neither the executable nor argv[0] is a known VMM. */
  vmm: string | null;
  name: string | null;
  uuid: string | null;
}

const UNKNOWN: VmIdentity = { vmm: null, name: null, uuid: null };
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NAME_LENGTH = 128;

interface Vmm {
  vmm: string;
  /** Name of its program. Release binaries have a version or a target in the name. */
  program: RegExp;
  /** Reads only the options that it names, so that no other part of a command line is exposed. */
  read: (argv: readonly string[]) => Omit<VmIdentity, 'vmm'>;
}

function nameless(): Omit<VmIdentity, 'vmm'> {
  return { name: null, uuid: null };
}
function named(option: string) {
  return (argv: readonly string[]) => ({
    name: asName(lastValue(argv, option)),
    uuid: null,
  });
}

/** Program name of each VMM, and its options for the VM's name and UUID. Most have neither option. */
const VMMS: readonly Vmm[] = [
  { vmm: 'qemu', program: /^(?:qemu-system-[\w-]+|(?:qemu-)?kvm(?:-spice)?)$/, read: readQemu },
  {
    vmm: 'cloud-hypervisor',
    program: /^cloud-hypervisor(?:-static)?(?:-(?:x86_64|aarch64|riscv64))?$/,
    // There is no option for a name. The UUID is a key of --platform, called system_uuid since 2026.
    read: (argv) => {
      const platform = splitOptions(lastValue(argv, 'platform') ?? '');
      return { name: null, uuid: asUuid(part(platform, 'system_uuid') ?? part(platform, 'uuid')) };
    },
  },
  // `crosvm run --name`, since the end of 2024.
  { vmm: 'crosvm', program: /^crosvm$/, read: named('name') },
  {
    vmm: 'firecracker',
    program: /^firecracker(?:-v\d+(?:\.\d+)*(?:-(?:x86_64|aarch64))?)?$/,
    // The jailer passes on its --id. An id may be a UUID.
    read: (argv) => {
      const id = lastValue(argv, 'id');
      return { name: asName(id), uuid: asUuid(id) };
    },
  },
  { vmm: 'openvmm', program: /^openvmm$/, read: nameless },
  // kvmtool: `lkvm run --name NAME`.
  { vmm: 'lkvm', program: /^lkvm(?:-static)?$/, read: named('name') },
  // `alioth boot`, or `run`: there is no option for a name.
  { vmm: 'alioth', program: /^alioth$/, read: nameless },
  {
    vmm: 'stratovirt',
    program: /^stratovirt$/,
    // The options of QEMU, but -name without keys: machine_manager/src/cmdline.rs.
    read: (argv) => ({ name: asName(lastValue(argv, 'name')), uuid: asUuid(lastValue(argv, 'uuid')) }),
  },
  // Kata's Rust runtime with Dragonball runs the VM inside the shim, whose -id is the sandbox. With another VMM the
  // shim runs no VM.
  { vmm: 'dragonball', program: /^containerd-shim-kata-v2$/, read: named('id') },
  {
    vmm: 'libkrun',
    // crun as `krun` runs the VM inside the container's process. krunvm: `krunvm start NAME`.
    program: /^(?:krun|krunvm|muvm)$/,
    read: (argv) => {
      const start = argv.indexOf('start');
      return { name: start < 0 ? null : asName(argv[start + 1]), uuid: null };
    },
  },
];

/**
 * VMM, name and UUID of the VM that a process runs.
 *
 * @param argv its command line. A process can write anything there, also to argv[0]
 * @param executable target of /proc/PID/exe, with its ` (deleted)`; empty if it cannot be read. It has precedence,
 *   because a
 *   process cannot choose it. If it is not a known VMM (a wrapper), argv[0] is used
 */
export function identifyVm(argv: readonly string[], executable = ''): VmIdentity {
  for (const path of [executable.replace(/ \(deleted\)$/, ''), argv[0] ?? '']) {
    const program = plainName(basename(path));
    const known = VMMS.find((one) => one.program.test(program));
    if (known !== undefined) return { vmm: known.vmm, ...known.read(argv) };
  }
  return UNKNOWN;
}

/** Removes what a wrapper of the same name adds: `.NAME-wrapped` of NixOS, `NAME.real` of others. */
function plainName(command: string): string {
  return /^\.(.+)-wrapped_*$/.exec(command)?.[1] ?? command.replace(/\.real$/, '');
}

function readQemu(argv: readonly string[]): Omit<VmIdentity, 'vmm'> {
  // QEMU merges repeated -name options (merge_lists of qemu_name_opts): the last value of a key is used.
  const name = values(argv, 'name').flatMap((value) => {
    const [first = '', ...rest] = splitOptions(value);
    return [first.includes('=') ? first : `guest=${first}`, ...rest];
  });
  const smbios = values(argv, 'smbios').map(splitOptions);
  const system = smbios.findLast((parts) => part(parts, 'type') === '1' && part(parts, 'uuid') !== undefined);
  return {
    // Proxmox passes the number of the VM as -id, an option of its patched QEMU, and always also a -name.
    name: asName(part(name, 'guest')) ?? asName(lastValue(argv, 'id')),
    uuid: asUuid(lastValue(argv, 'uuid')) ?? asUuid(part(system ?? [], 'uuid')),
  };
}

/** All values of an option: `-name X`, `--name X`, `--name=X`. */
function values(argv: readonly string[], option: string): string[] {
  const found: string[] = [];
  for (let index = 1; index < argv.length; index++) {
    const argument = argv[index] as string;
    const next = argv[index + 1];
    if (argument === `-${option}` || argument === `--${option}`) {
      if (next !== undefined) found.push(next);
      // Skips the value, which may look like an option.
      index++;
    } else if (argument.startsWith(`--${option}=`)) {
      found.push(argument.slice(option.length + 3));
    }
  }
  return found;
}

/** The last value: every VMM that accepts an option twice uses the last one. */
function lastValue(argv: readonly string[], option: string): string | undefined {
  return values(argv, option).at(-1);
}

/** `a=b,c` -> parts; a comma inside a value is doubled. */
function splitOptions(text: string): string[] {
  return text
    .replaceAll(',,', '\0')
    .split(',')
    .map((one) => one.replaceAll('\0', ','));
}

function part(parts: readonly string[], key: string): string | undefined {
  return parts.findLast((one) => one.startsWith(`${key}=`))?.slice(key.length + 1);
}

function asUuid(text: string | undefined): string | null {
  return text !== undefined && UUID.test(text) ? text.toLowerCase() : null;
}

/** A name that begins with a hyphen is the next option: the value is missing, so this returns null. */
function asName(text: string | undefined): string | null {
  return text?.startsWith('-') === true ? null : clean(text);
}

/** Makes a name from another process fit for a label: without control characters, bounded. Null if nothing remains. */
export function clean(name: string | undefined): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the name comes from another process
  const text = (name ?? '').replace(/[\u0000-\u001f\u007f]/g, ' ').trim();
  return text === '' ? null : text.slice(0, NAME_LENGTH);
}
