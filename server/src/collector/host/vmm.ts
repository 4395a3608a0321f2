import { basename } from 'node:path';

export interface VmIdentity {
  /** `qemu`, ... or null where the command is no known VMM. */
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
  read: (argv: readonly string[]) => Omit<VmIdentity, 'vmm'>;
}

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
  {
    vmm: 'crosvm',
    program: /^crosvm$/,
    read: (argv) => ({ name: clean(lastValue(argv, 'name')), uuid: null }),
  },
  {
    vmm: 'firecracker',
    program: /^firecracker(?:-v\d+(?:\.\d+)*(?:-(?:x86_64|aarch64))?)?$/,
    // The jailer hands its own --id on; an id may be a UUID.
    read: (argv) => {
      const id = lastValue(argv, 'id');
      return { name: clean(id), uuid: asUuid(id) };
    },
  },
  { vmm: 'openvmm', program: /^openvmm$/, read: () => ({ name: null, uuid: null }) },
];

/** Reads VMM, name and UUID of the VM from a command line. */
export function identifyVm(argv: readonly string[]): VmIdentity {
  const command = plainName(basename(argv[0] ?? ''));
  const known = VMMS.find(({ program }) => program.test(command));
  return known === undefined ? UNKNOWN : { vmm: known.vmm, ...known.read(argv) };
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
    name: clean(part(name, 'guest')) ?? clean(lastValue(argv, 'id')),
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

/** What another process calls itself, made fit for a label; null where nothing is left. */
export function clean(name: string | undefined): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the name comes from another process
  const text = (name ?? '').replace(/[\u0000-\u001f\u007f]/g, ' ').trim();
  return text === '' ? null : text.slice(0, NAME_LENGTH);
}
