import assert from 'node:assert/strict';
import type { BufferView } from '../../server/src/contract/buffers.ts';
import type { KernelEvent } from '../../server/src/contract/events.ts';
import { USUAL_KERNEL } from './cells.ts';
import type { Lab } from './lab.ts';
import { contradictions, oracleSince, readOracle } from './oracle.ts';
import { changed, total } from './samples.ts';
import { CAPABLE, RESETTABLE } from './scenarios/names.ts';
import type { Trial } from './trial.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Shell script that starts QEMU of backports in the guest, on KVM (on emulated SVM), with devices that it opens by
 * their files and attaches to iommufd. SeaBIOS sizes the BARs and turns memory decode on. The monitor is two pipes.
 */
function start(name: string, uuid: string, ...devices: string[]): string {
  const slots = devices.map(
    (host, index) =>
      `-device pcie-root-port,id=slot${index},chassis=${index + 1} ` +
      `-device vfio-pci,id=dev${index},host=${host},bus=slot${index},iommufd=iommufd0`,
  );
  return `rm -f /tmp/${name}.*; mkfifo /tmp/${name}.in /tmp/${name}.out
    qemu-system-x86_64 -name guest=${name},debug-threads=on -uuid ${uuid} -machine q35,accel=kvm -cpu host -m 64M \\
      -nodefaults -display none -object iommufd,id=iommufd0 ${slots.join(' ')} \\
      -monitor pipe:/tmp/${name} >/tmp/${name}.log 2>&1 & echo $! >/tmp/${name}.pid
    cat /tmp/${name}.out >/dev/null &`;
}

/** Shell script that sends commands to the monitor of a VM. */
function monitor(name: string, ...commands: string[]): string {
  return `printf '%s\\n' ${commands.map((command) => `'${command}'`).join(' ')} >/tmp/${name}.in`;
}

/** Commands that write to the config space of a VM's PCI device, as its guest does. */
function config(bus: number, slot: number, register: number, value: number, bytes = 4): string[] {
  const address = 0x8000_0000 + (bus << 16) + (slot << 11) + register;
  return [`o /4 0xcf8 0x${address.toString(16)}`, `o /${bytes} 0xcfc 0x${value.toString(16)}`];
}

/** The VM's first device: its root port is device 1 of bus 0, and it is alone on bus 1. */
const decode = (on: boolean): string[] => config(1, 0, 0x04, on ? 0x0106 : 0, 2);
/** Moves BAR 2 of the first device, and the window of its root port, to 0x700000000. */
const MOVE = [
  ...config(0, 1, 0x24, 0x0031_0001),
  ...config(0, 1, 0x28, 7),
  ...config(0, 1, 0x2c, 7),
  ...config(1, 0, 0x18, 0),
  ...config(1, 0, 0x1c, 7),
];
/** Ejects the first device by the machine's I/O ports, as a guest does after `device_del`: its bus, then slot 0. */
const EJECT = ['o /4 0xcd0 1', 'o /4 0xcc8 1'];

/** An event in one line. The calls around a change of state are left out. */
function summary(event: KernelEvent): string[] {
  switch (event.kind) {
    case 'export':
      return [`export ${event.device} BAR ${event.region} ${event.bytes} ${event.reason}`];
    case 'import':
      return [`${event.stage} ${event.device} ${event.importer} ${event.reason}`];
    case 'buffer_state':
      return [
        event.revoked
          ? `revoked ${event.device} ${event.cause} lost ${event.lost_mappings}`
          : `restored ${event.device} ${event.cause}`,
      ];
    case 'revoke_call':
      return [];
    default:
      return [`${event.kind} ${event.device}`];
  }
}

function countsOf(lines: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of [...lines].sort()) counts[line] = (counts[line] ?? 0) + 1;
  return counts;
}

/** The events of one mapping of a BAR by iommufd. QEMU tries BAR 0 by its address, because it is smaller than a page. */
function mapped(device: string): Record<string, number> {
  return {
    [`attach ${device} iommufd none`]: 1,
    [`pin ${device} iommufd none`]: 1,
    [`iommufd ${device} iommufd none`]: 1,
    ...(device === RESETTABLE && { [`ioas_map ${device} iommufd bar_by_address`]: 1 }),
  };
}
/** The events of one revocation of a mapped BAR by the guest: iommufd loses the mapping, then QEMU removes it. */
function lost(device: string): Record<string, number> {
  return { [`revoked ${device} memory_enable lost 1`]: 1, [`detach ${device}`]: 1 };
}

async function buffersOf(lab: Lab): Promise<string[]> {
  const { body } = await lab.get('/api/v1/buffers?limit=1000');
  return (JSON.parse(body) as { buffers: BufferView[] }).buffers
    .filter(({ state }) => state !== 'released')
    .map(
      ({ device, region, state, vm, lost_mappings: lostMappings, attachments }) =>
        `${device} BAR ${region} ${state} of ${vm?.name}: ${attachments.length} mapped, ${lostMappings} lost`,
    )
    .sort();
}

interface Step {
  what: string;
  script: string;
  /** What the tracer reports, with the number of events. */
  events: Record<string, number>;
  /** All buffers after the step. */
  buffers: string[];
  /** Incidents of kind `mappings_lost` that this step opens, and that are open after it. */
  incidents?: { opened: number; open: number };
}

const NAME = 'web-7';
const AT = { first: `${RESETTABLE} BAR 2`, table: `${CAPABLE} BAR 1`, second: `${CAPABLE} BAR 4` };
/** QEMU does not map a BAR 1 of which it emulates the only page, because that has the MSI-X table. */
const ALL_MAPPED = [
  `${AT.first} live of ${NAME}: 1 mapped, 0 lost`,
  `${AT.table} live of ${NAME}: 0 mapped, 0 lost`,
  `${AT.second} live of ${NAME}: 1 mapped, 0 lost`,
];
/** The buffer of an unplugged device, until its VM ends. */
const LEFT_BEHIND = `${AT.first} revoked of ${NAME}: 0 mapped, 0 lost`;
const SECOND_VM = `${AT.first} live of web-8: 1 mapped, 0 lost`;
const RESTORED = {
  [`restored ${RESETTABLE} memory_enable`]: 1,
  [`restored ${CAPABLE} memory_enable`]: 2,
  ...mapped(RESETTABLE),
  ...mapped(CAPABLE),
};
/** The kernel rejects the export of BAR 0, which is smaller than a page. */
const FIRST_EXPORTS = {
  [`export ${RESETTABLE} BAR 0 0 unaligned`]: 1,
  [`export ${RESETTABLE} BAR 2 ${4 * MIB} none`]: 1,
};

const STEPS: readonly Step[] = [
  {
    what: 'start: each BAR is exported, revoked by the reset, restored by the firmware, and then mapped',
    script: start(NAME, '8d6a2f10-3b1e-4c5d-9a77-0e1f2a3b4c5d', RESETTABLE, CAPABLE),
    events: {
      ...FIRST_EXPORTS,
      [`export ${CAPABLE} BAR 1 ${4 * KIB} none`]: 1,
      [`export ${CAPABLE} BAR 4 ${16 * KIB} none`]: 1,
      [`revoked ${RESETTABLE} memory_enable lost 0`]: 1,
      [`revoked ${CAPABLE} memory_enable lost 0`]: 2,
      ...RESTORED,
    },
    buffers: ALL_MAPPED,
  },
  {
    what: 'the guest turns memory decode off: iommufd loses the mapping, and QEMU removes it',
    script: monitor(NAME, ...decode(false)),
    events: lost(RESETTABLE),
    buffers: [`${AT.first} revoked of ${NAME}: 0 mapped, 1 lost`, ...ALL_MAPPED.slice(1)],
    incidents: { opened: 1, open: 1 },
  },
  {
    what: 'the guest turns memory decode on: QEMU maps again, and nothing is lost any more',
    script: monitor(NAME, ...decode(true)),
    events: { [`restored ${RESETTABLE} memory_enable`]: 1, ...mapped(RESETTABLE) },
    buffers: ALL_MAPPED,
  },
  {
    what: 'the guest moves the BAR: QEMU maps it at the new address',
    script: monitor(NAME, ...decode(false), ...MOVE, ...decode(true)),
    events: {
      ...lost(RESETTABLE),
      [`restored ${RESETTABLE} memory_enable`]: 1,
      ...mapped(RESETTABLE),
    },
    buffers: ALL_MAPPED,
    incidents: { opened: 1, open: 0 },
  },
  {
    what: 'reset of the VM: as a toggle of memory decode of each device',
    script: monitor(NAME, 'system_reset'),
    events: {
      ...lost(RESETTABLE),
      ...lost(CAPABLE),
      [`revoked ${CAPABLE} memory_enable lost 0`]: 1,
      ...RESTORED,
    },
    buffers: ALL_MAPPED,
    incidents: { opened: 2, open: 0 },
  },
  {
    what: 'hot-unplug: QEMU unmaps and closes the device, but keeps the descriptor of the buffer',
    script: monitor(NAME, 'device_del dev0', ...EJECT),
    events: { [`detach ${RESETTABLE}`]: 1, [`revoked ${RESETTABLE} device_close lost 0`]: 1 },
    buffers: [LEFT_BEHIND, ...ALL_MAPPED.slice(1)],
  },
  {
    what: 'a second VM gets the device: its buffers belong to that VM',
    script: start('web-8', '1c9e4b7a-5f0d-4e21-8a36-7b2d9c1e0f48', RESETTABLE),
    events: {
      ...FIRST_EXPORTS,
      [`revoked ${RESETTABLE} memory_enable lost 0`]: 1,
      [`restored ${RESETTABLE} memory_enable`]: 1,
      ...mapped(RESETTABLE),
    },
    buffers: [SECOND_VM, LEFT_BEHIND, ...ALL_MAPPED.slice(1)],
  },
  {
    what: 'the first VM is killed: its buffers are released, and that of the second VM stays mapped',
    script: `kill -KILL $(cat /tmp/${NAME}.pid)`,
    events: {
      [`revoked ${CAPABLE} device_close lost 1`]: 1,
      [`detach ${CAPABLE}`]: 1,
      [`release ${CAPABLE}`]: 2,
      [`release ${RESETTABLE}`]: 1,
    },
    buffers: [SECOND_VM],
    incidents: { opened: 1, open: 0 },
  },
  {
    what: 'exit of the second VM: it closes the device before it unmaps',
    script: monitor('web-8', 'quit'),
    events: {
      [`revoked ${RESETTABLE} device_close lost 1`]: 1,
      [`detach ${RESETTABLE}`]: 1,
      [`release ${RESETTABLE}`]: 1,
    },
    buffers: [],
    incidents: { opened: 1, open: 0 },
  },
];

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

async function run(lab: Lab, step: Step): Promise<void> {
  await lab.settle();
  const [before, oracleBefore, from] = [
    await lab.samples(),
    await readOracle(lab.guest),
    (await lab.events(0)).at(-1)?.seq ?? 0,
  ];
  const reported = async (): Promise<Record<string, number>> =>
    countsOf((await lab.events(from)).flatMap(summary));
  await lab.command(step.script);
  // If some event is missing, the comparison below shows which one.
  await lab
    .until(step.what, 120, async () => sumOf(await reported()) >= sumOf(step.events))
    .catch(() => undefined);
  await lab.settle();
  const qemu = await lab.command('tail -n 5 /tmp/web-*.log');
  assert.deepEqual(await reported(), step.events, `${step.what}\n${qemu}`);
  assert.deepEqual(await buffersOf(lab), step.buffers, step.what);

  const after = await lab.samples();
  const delta = changed(before, after);
  const recorded = oracleSince(oracleBefore, await readOracle(lab.guest));
  assert.deepEqual(contradictions(recorded, delta), [], `${step.what}: the independent oracle disagrees`);
  const { opened, open } = step.incidents ?? { opened: 0, open: 0 };
  assert.deepEqual(
    {
      opened: delta['incidents_total{kind="mappings_lost"}'] ?? 0,
      open: total(after, 'incidents', 'kind="mappings_lost"'),
      lost: total(after, 'lost_mappings'),
      byAddress: total(after, 'incidents', 'kind="bar_mapped_by_address"'),
    },
    { opened, open, lost: open, byAddress: 0 },
    step.what,
  );
}

export const QEMU_IOMMUFD: Trial = {
  name: 'qemu-iommufd',
  title:
    'VMs of real QEMU with iommufd: start, remap, reset, hot-unplug, a device that changes the VM, SIGKILL',
  belongs: ({ kernel, suite, dialect }) =>
    kernel === USUAL_KERNEL && suite === 'trixie' && dialect === 'cdev',
  run: async (lab, log) => {
    for (const step of STEPS) {
      await run(lab, step);
      log(`ok: ${step.what}`);
    }
  },
};
