import assert from 'node:assert/strict';
import { isUsual, isUsualOnce } from './cells.ts';
import type { Lab } from './lab.ts';
import { contradictions, oracleSince, readOracle } from './oracle.ts';
import { changed, total } from './samples.ts';
import { missedSince } from './scenario.ts';
import { PLAIN, RESETTABLE } from './scenarios/names.ts';
import type { Trial } from './trial.ts';

/**
 * Shell script that makes about a hundred exports, rejections and imports a second while one bpftrace program takes
 * over from another. It runs until /tmp/enough exists. At other times it pauses, because the emulated CPUs compile the
 * next program.
 */
const LOAD = `next_has_programs() {
  [ $(pgrep -xc bpftrace) -gt 1 ] && ls -l /proc/$(pgrep -xn bpftrace)/fd 2>/dev/null | grep -q bpf-prog
}
while [ ! -e /tmp/enough ]; do
  if ! next_has_programs; then sleep 1; continue; fi
  /lab/bin/flood --device ${PLAIN} --region 2 --exports 200 --rejected 60 --vgem 60 --threads 2 --pause 20000 || exit 1
done`;

const REJECTED = 20;
/** The probes in the module that is reloaded. */
const IOMMUFD_PROBES = ['iommufd_file', 'ioas_map', 'ioas_copy'] as const;

/**
 * Makes calls that iommufd itself rejects, so only the probe in iommufd can count them. They are not part of the load,
 * because the module cannot be unloaded while such a call runs.
 */
async function rejectedByIommufd(lab: Lab): Promise<void> {
  const calls = Array.from({ length: REJECTED }, () => 'iommufd=0,8192');
  const steps = await lab.session(`device=${RESETTABLE}`, 'export=2,0:4096', ...calls);
  assert.equal(steps.filter(({ verb, errno }) => verb === 'iommufd' && errno === 22).length, REJECTED);
}

/** Waits until the program of this generation has taken over. */
function untilGeneration(lab: Lab, generation: number): Promise<void> {
  return lab.until(`generation ${generation} to trace`, 400, async () => {
    const status = await lab.status();
    return status.generation === generation && status.state === 'tracing';
  });
}

export const HANDOVER: Trial = {
  name: 'handover',
  guest: 'own',
  title:
    'a module with probes is unloaded and reloaded under load: new programs take over, and each call is counted once',
  belongs: isUsual,
  // Compiling four programs in emulation takes minutes. `npm run lab -- handover` runs it with both versions of
  // bpftrace.
  everyday: isUsualOnce,
  run: async (lab, log) => {
    await lab.settle();
    const [before, oracleBefore, { generation, losses }] = [
      await lab.samples(),
      await readOracle(lab.guest),
      await lab.status(),
    ];
    await lab.command(
      `rm -f /tmp/enough /tmp/load.*; (${LOAD}; echo done) >/tmp/load.out 2>&1 </dev/null & sleep 2`,
    );
    await rejectedByIommufd(lab);
    await lab.command('rmmod iommufd');
    await untilGeneration(lab, generation + 1);
    const without = await lab.status();
    assert.equal(without.probes.find(({ probe }) => probe === 'iommufd_file')?.attached, false);
    await lab.command('modprobe iommufd 2>/dev/null || insmod /lab/modules/iommufd.ko');
    // The next program takes over some seconds later, so no probe counts these calls.
    await rejectedByIommufd(lab);
    await untilGeneration(lab, generation + 2);
    await rejectedByIommufd(lab);
    await lab.command(
      'touch /tmp/enough; n=0; until grep -q done /tmp/load.out; do sleep 0.2; n=$((n + 1)); [ $n -lt 500 ] || exit 9; done',
    );
    const status = await lab.settle();
    const after = await lab.samples();
    const recorded = oracleSince(oracleBefore, await readOracle(lab.guest));
    const delta = changed(before, after);
    const skipped = await missedSince(lab, losses);
    if (skipped > 0) log(`the kernel skipped ${skipped} probe runs, and the tracer reported them`);
    // Unloading iommufd may also have removed the oracle's probe in it, so its counts for iommufd are not compared.
    const wrong = contradictions(recorded, delta, skipped).filter((claim) => !claim.includes('"iommufd"'));
    assert.deepEqual(wrong, [], 'the independent oracle disagrees');
    assert.equal(status.probes.find(({ probe }) => probe === 'iommufd_file')?.attached, true);
    const grown = (name: string, ...having: string[]): number =>
      total(after, name, ...having) - total(before, name, ...having);
    assert.equal(grown('blind_seconds_total'), 0, 'the program as a whole was not blind');
    const inModule = IOMMUFD_PROBES.map((probe) => grown('probe_blind_seconds_total', `probe="${probe}"`));
    const blind = inModule[0] ?? 0;
    const counted = grown('import_rejections_total', 'importer="iommufd"');
    log(
      `${counted} of ${3 * REJECTED} calls into iommufd counted, its probe was blind for ${blind.toFixed(1)} s`,
    );
    assert.ok(blind > 0, 'the time in which the probe in iommufd was not attached is counted');
    assert.deepEqual(
      new Set(inModule),
      new Set([blind]),
      'all probes in the module were blind for this time',
    );
    assert.ok(
      Math.abs(grown('probe_blind_seconds_total') - blind * inModule.length) < 0.001,
      'no other probe was blind',
    );
    assert.ok(
      counted >= 2 * REJECTED - skipped && counted <= 3 * REJECTED,
      'the calls before the unload and after the last handover are counted',
    );
    assert.equal(status.losses.handover, losses.handover, 'the handovers lost no call');
    assert.equal(grown('collector_restarts_total'), 2);
    const received = total(after, 'events_total') - total(before, 'events_total');
    const calls =
      grown('exports_total') +
      grown('export_rejections_total') +
      grown('releases_total') +
      grown('import_rejections_total');
    log(
      `${calls} calls counted, the oracle agrees; ${received} events received, ${status.events_unaccounted} unaccounted`,
    );
    assert.ok(calls > 1000, 'there was load');
  },
};
