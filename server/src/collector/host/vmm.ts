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

/** What each VMM calls the options of its name and its UUID; most have neither. */
const READERS: Readonly<Record<string, (argv: readonly string[]) => Omit<VmIdentity, 'vmm'>>> = {
  qemu: readQemu,
  // No option names the VM; the UUID is a part of --platform, called system_uuid since 2026.
  'cloud-hypervisor': (argv) => {
    const platform = splitOptions(lastValue(argv, 'platform') ?? '');
    return { name: null, uuid: asUuid(part(platform, 'system_uuid') ?? part(platform, 'uuid')) };
  },
  // `crosvm run --name`, since the end of 2024.
  crosvm: (argv) => ({ name: clean(lastValue(argv, 'name')), uuid: null }),
  // The jailer hands its own --id on; an id may be a UUID.
  firecracker: (argv) => {
    const id = lastValue(argv, 'id');
    return { name: clean(id), uuid: asUuid(id) };
  },
  openvmm: () => ({ name: null, uuid: null }),
};

/** Reads VMM, name and UUID of the VM from a command line. */
export function identifyVm(argv: readonly string[]): VmIdentity {
  const command = basename(argv[0] ?? '');
  const vmm = /^(?:qemu-system-[\w-]+|qemu-kvm|kvm)$/.test(command) ? 'qemu' : command;
  const read = Object.hasOwn(READERS, vmm) ? READERS[vmm] : undefined;
  return read === undefined ? UNKNOWN : { vmm, ...read(argv) };
}

function readQemu(argv: readonly string[]): Omit<VmIdentity, 'vmm'> {
  const name = splitOptions(lastValue(argv, 'name') ?? '');
  const plain = name[0]?.includes('=') ? undefined : name[0];
  const smbios = values(argv, 'smbios').map(splitOptions);
  const system = smbios.findLast((parts) => part(parts, 'type') === '1' && part(parts, 'uuid') !== undefined);
  return {
    // Proxmox gives the number of the VM as -id, an option of its own QEMU, and always a -name beside it.
    name: clean(part(name, 'guest') ?? plain) ?? clean(lastValue(argv, 'id')),
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
  return parts.find((one) => one.startsWith(`${key}=`))?.slice(key.length + 1);
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
