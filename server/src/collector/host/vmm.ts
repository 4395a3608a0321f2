import { basename } from 'node:path';

export interface VmIdentity {
  /** A key of the table below, e.g. `qemu`; null where neither the executable nor the command is a known VMM. */
  vmm: string | null;
  name: string | null;
  uuid: string | null;
}

const UNKNOWN: VmIdentity = { vmm: null, name: null, uuid: null };
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NAME_LENGTH = 128;

interface Vmm {
  vmm: string;
  /** What its program is called: in releases with a version or a target. */
  program: RegExp;
  /** Reads only the options named here, so that nothing else of a command line can get out. */
  read: (argv: readonly string[]) => Omit<VmIdentity, 'vmm'>;
}

const nameless = (): Omit<VmIdentity, 'vmm'> => ({ name: null, uuid: null });
const named = (option: string) => (argv: readonly string[]) => ({
  name: asName(lastValue(argv, option)),
  uuid: null,
});

/** What each VMM calls itself, and the options of its name and its UUID; most have neither. */
const VMMS: readonly Vmm[] = [
  { vmm: 'qemu', program: /^(?:qemu-system-[\w-]+|(?:qemu-)?kvm(?:-spice)?)$/, read: readQemu },
  {
    vmm: 'cloud-hypervisor',
    program: /^cloud-hypervisor(?:-static)?(?:-(?:x86_64|aarch64|riscv64))?$/,
    // No option names the VM; the UUID is a part of --platform, called system_uuid since 2026.
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
    // The jailer hands its own --id on; an id may be a UUID.
    read: (argv) => {
      const id = lastValue(argv, 'id');
      return { name: asName(id), uuid: asUuid(id) };
    },
  },
  { vmm: 'openvmm', program: /^openvmm$/, read: nameless },
  // kvmtool: `lkvm run --name NAME`.
  { vmm: 'lkvm', program: /^lkvm(?:-static)?$/, read: named('name') },
  // `alioth boot`, or `run`: no option names the VM.
  { vmm: 'alioth', program: /^alioth$/, read: nameless },
  {
    vmm: 'stratovirt',
    program: /^stratovirt$/,
    // QEMU's spelling, without its parts: machine_manager/src/cmdline.rs.
    read: (argv) => ({ name: asName(lastValue(argv, 'name')), uuid: asUuid(lastValue(argv, 'uuid')) }),
  },
  // Kata's runtime in Rust makes the VM inside the shim, whose -id is that of the sandbox. With another VMM the shim makes no VM.
  { vmm: 'dragonball', program: /^containerd-shim-kata-v2$/, read: named('id') },
  {
    vmm: 'libkrun',
    // crun as `krun` has the VM inside the process of the container; `krunvm start NAME`.
    program: /^(?:krun|krunvm|muvm)$/,
    read: (argv) => {
      const start = argv.indexOf('start');
      return { name: start < 0 ? null : asName(argv[start + 1]), uuid: null };
    },
  },
];

/**
 * VMM, name and UUID of the VM of a process.
 *
 * @param argv its command line; a process may write anything there, argv[0] included
 * @param executable target of /proc/PID/exe, with its ` (deleted)`; empty where it cannot be read. It decides, because a process
 *   cannot choose it; where it is no VMM (a wrapper), argv[0] is asked.
 */
export function identifyVm(argv: readonly string[], executable = ''): VmIdentity {
  for (const path of [executable.replace(/ \(deleted\)$/, ''), argv[0] ?? '']) {
    const program = plainName(basename(path));
    const known = VMMS.find((one) => one.program.test(program));
    if (known !== undefined) return { vmm: known.vmm, ...known.read(argv) };
  }
  return UNKNOWN;
}

/** Without what a wrapper of the same name made of it: NixOS `.NAME-wrapped`, others `NAME.real`. */
function plainName(command: string): string {
  return /^\.(.+)-wrapped_*$/.exec(command)?.[1] ?? command.replace(/\.real$/, '');
}

function readQemu(argv: readonly string[]): Omit<VmIdentity, 'vmm'> {
  // QEMU merges the options of one list (merge_lists of qemu_name_opts): what is said last of a key counts.
  const name = values(argv, 'name').flatMap((value) => {
    const [first = '', ...rest] = splitOptions(value);
    return [first.includes('=') ? first : `guest=${first}`, ...rest];
  });
  const smbios = values(argv, 'smbios').map(splitOptions);
  const system = smbios.findLast((parts) => part(parts, 'type') === '1' && part(parts, 'uuid') !== undefined);
  return {
    // Proxmox gives the number of the VM as -id, an option of its own QEMU, and always a -name beside it.
    name: asName(part(name, 'guest')) ?? asName(lastValue(argv, 'id')),
    uuid: asUuid(lastValue(argv, 'uuid')) ?? asUuid(part(system ?? [], 'uuid')),
  };
}

/** All values of an option: `-name X`, `--name X`, `--name=X`. */
function values(argv: readonly string[], option: string): string[] {
  const found: string[] = [];
  for (let index = 1; index < argv.length; index++) {
    const word = argv[index] as string;
    const next = argv[index + 1];
    if (word === `-${option}` || word === `--${option}`) {
      if (next !== undefined) found.push(next);
      // A value is no option, whatever it looks like.
      index++;
    } else if (word.startsWith(`--${option}=`)) {
      found.push(word.slice(option.length + 3));
    }
  }
  return found;
}

/** The last one counts, in every VMM that takes an option twice. */
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

/** A name that begins with a hyphen is the next option: the value is missing. */
function asName(text: string | undefined): string | null {
  return text?.startsWith('-') === true ? null : clean(text);
}

/** What another process calls itself, made fit for a label; null where nothing is left. */
export function clean(name: string | undefined): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the name comes from another process
  const text = (name ?? '').replace(/[\u0000-\u001f\u007f]/g, ' ').trim();
  return text === '' ? null : text.slice(0, NAME_LENGTH);
}
