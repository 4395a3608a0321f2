import assert from 'node:assert/strict';
import type { BufferView } from '../../server/src/contract/buffers.ts';
import type { TracerEvent } from '../../server/src/contract/events.ts';
import { isUsualOnce } from './cells.ts';
import type { Lab } from './lab.ts';
import { contradictions, oracleSince, readOracle } from './oracle.ts';
import { changed } from './samples.ts';
import { RESETTABLE } from './scenarios/names.ts';
import type { Trial } from './trial.ts';

const NAME = 'web-7';
const UUID = '8d6a2f10-3b1e-4c5d-9a77-0e1f2a3b4c5d';
const MIB = 1024 * 1024;

/**
 * Shell script that starts QEMU from backports in the guest, with a device of the lab, on KVM (on emulated SVM). The VM
 * needs no operating system: SeaBIOS sizes the BARs and turns memory decode on. QEMU's monitor is a pair of pipes.
 */
export const START_QEMU = `rm -f /tmp/monitor.*; mkfifo /tmp/monitor.in /tmp/monitor.out
  qemu-system-x86_64 -name guest=${NAME},debug-threads=on -uuid ${UUID} -machine q35,accel=kvm -cpu host -m 256M \\
    -nodefaults -display none -device pcie-root-port,id=slot1,chassis=1 -device vfio-pci,host=${RESETTABLE},bus=slot1 \\
    -monitor pipe:/tmp/monitor >/tmp/qemu.out 2>&1 & echo $! >/tmp/qemu.pid
  cat /tmp/monitor.out >/dev/null &`;

async function buffersOf(lab: Lab): Promise<BufferView[]> {
  const { body } = await lab.get('/api/v1/buffers?limit=1000');
  return (JSON.parse(body) as { buffers: BufferView[] }).buffers.filter(({ state }) => state !== 'released');
}

/** How often buffers were revoked and restored after this event. */
async function turns(lab: Lab, after: number): Promise<{ revoked: number; restored: number }> {
  const states = (await lab.events(after)).filter((event) => event.kind === 'buffer_state');
  const revoked = states.filter((event) => event.revoked).length;
  return { revoked, restored: states.length - revoked };
}

export const QEMU_VM: Trial = {
  name: 'qemu-vm',
  title:
    'a VM of real QEMU: its start exports each BAR, its reset revokes, its end releases, all with the name of the VM',
  belongs: isUsualOnce,
  run: async (lab, log) => {
    const position = async (): Promise<number> => (await lab.events(0)).at(-1)?.seq ?? 0;
    await lab.settle();
    const [begin, before, oracleBefore] = [
      await position(),
      await lab.samples(),
      await readOracle(lab.guest),
    ];
    await lab.command(START_QEMU);
    const qemuOutput = (): Promise<string> => lab.command('cat /tmp/qemu.out');
    await lab.until('SeaBIOS to turn memory decode on', 120, async () => {
      assert.equal((await lab.guest.run('kill -0 $(cat /tmp/qemu.pid)')).status, 0, await qemuOutput());
      const { revoked, restored } = await turns(lab, begin);
      return restored > 0 && restored === revoked;
    });
    await lab.settle();
    log((await qemuOutput()).trim());

    // QEMU exports each BAR as a whole. The kernel rejects a BAR smaller than a page, and QEMU continues without that
    // export.
    const exports = (await lab.events(begin)).filter((event) => event.kind === 'export');
    assert.deepEqual(
      exports.map(({ device, region, bytes, errno, reason }) => ({ device, region, bytes, errno, reason })),
      [
        { device: RESETTABLE, region: 0, bytes: 0, errno: 22, reason: 'unaligned' },
        { device: RESETTABLE, region: 2, bytes: 4 * MIB, errno: 0, reason: 'none' },
      ],
    );
    const [buffer, ...more] = await buffersOf(lab);
    assert.deepEqual(more, []);
    assert.equal(buffer?.state, 'live');
    const pid = Number(await lab.command('cat /tmp/qemu.pid'));
    assert.deepEqual(
      {
        pid: buffer?.vm?.pid,
        by: buffer?.vm?.by,
        kind: buffer?.vm?.kind,
        name: buffer?.vm?.name,
        uuid: buffer?.vm?.uuid,
      },
      { pid, by: 'kvm', kind: 'default', name: NAME, uuid: UUID },
    );

    const started = await turns(lab, begin);
    log(`start: ${JSON.stringify(started)}`);
    const resetAt = await position();
    await lab.command('echo system_reset >/tmp/monitor.in');
    await lab.until('the reset to revoke and restore the memory', 120, async () => {
      const { revoked, restored } = await turns(lab, resetAt);
      return revoked > 0 && restored === revoked;
    });
    await lab.settle();
    log(`system_reset: ${JSON.stringify(await turns(lab, resetAt))}`);
    const [reset] = (await lab.events(resetAt)).filter((event) => event.kind === 'buffer_state');
    assert.deepEqual(pick(reset), { device: RESETTABLE, revoked: true, cause: 'memory_enable' });
    assert.equal((await buffersOf(lab))[0]?.state, 'live');

    const quitAt = await position();
    await lab.command(
      `echo quit >/tmp/monitor.in
       n=0; while kill -0 ${pid} 2>/dev/null; do sleep 0.2; n=$((n + 1)); [ $n -lt 150 ] || exit 9; done`,
    );
    await lab.settle();
    assert.deepEqual(
      (await lab.events(quitAt)).map(({ kind }) => kind),
      ['release'],
      'QEMU closes the buffer before the device, so it is released without a revocation',
    );
    assert.deepEqual(await buffersOf(lab), []);
    const delta = changed(before, await lab.samples());
    const recorded = oracleSince(oracleBefore, await readOracle(lab.guest));
    assert.deepEqual(contradictions(recorded, delta), [], 'the independent oracle disagrees');
  },
};

function pick(event: TracerEvent | undefined): object {
  return event?.kind === 'buffer_state'
    ? { device: event.device, revoked: event.revoked, cause: event.cause }
    : {};
}
