import assert from 'node:assert/strict';
import { isUsual } from './cells.ts';
import type { Lab } from './lab.ts';
import { changed, total } from './samples.ts';
import { missedSince } from './scenario.ts';
import { PLAIN } from './scenarios/names.ts';
import type { Trial } from './trial.ts';
import { contradictions, hear, heardSince } from './witness.ts';

/** Exports, refusals and imports without end, some hundred a second, until a file says that it is enough. */
const LOAD = `n=0; while [ ! -e /tmp/enough ] && [ $n -lt 3000 ]; do
  /lab/bin/flood --device ${PLAIN} --region 2 --exports 100 --refused 30 --vgem 30 --threads 2 || exit 1
  n=$((n + 1)); sleep 0.3
done`;

/** Waits until a program has taken over. */
const untilGeneration = (lab: Lab, generation: number): Promise<void> =>
  lab.until(`generation ${generation} to trace`, 400, async () => {
    const status = await lab.status();
    return status.generation === generation && status.state === 'tracing';
  });

export const HAND_OVER: Trial = {
  name: 'hand-over',
  title:
    'a module with probes is unloaded and loaded again under load: programs take over, and each call is counted once',
  belongs: isUsual,
  run: async (lab, say) => {
    await lab.settle();
    const [before, heardBefore, { generation, losses }] = [
      await lab.samples(),
      await hear(lab.guest),
      await lab.status(),
    ];
    await lab.command(
      `rm -f /tmp/enough /tmp/load.*; (${LOAD}; echo done) >/tmp/load.out 2>&1 </dev/null & sleep 2`,
    );
    await lab.command('rmmod iommufd');
    await untilGeneration(lab, generation + 1);
    const without = await lab.status();
    assert.equal(without.probes.find(({ probe }) => probe === 'iommufd_file')?.attached, false);
    await lab.command('modprobe iommufd 2>/dev/null || insmod /lab/modules/iommufd.ko');
    await untilGeneration(lab, generation + 2);
    await lab.command(
      'touch /tmp/enough; n=0; until grep -q done /tmp/load.out; do sleep 0.2; n=$((n + 1)); [ $n -lt 500 ] || exit 9; done',
    );
    const status = await lab.settle();
    const after = await lab.samples();
    const heard = heardSince(heardBefore, await hear(lab.guest));
    const delta = changed(before, after);
    const skipped = await missedSince(lab, losses);
    if (skipped > 0) say(`the kernel has skipped ${skipped} runs of probes, and the tracer says so`);
    assert.deepEqual(contradictions(heard, delta, skipped), [], 'the independent witness disagrees');
    assert.equal(status.probes.find(({ probe }) => probe === 'iommufd_file')?.attached, true);
    const grown = (name: string): number => total(after, name) - total(before, name);
    assert.equal(grown('blind_seconds_total'), 0, 'nothing was blind');
    assert.equal(status.losses.hand_over, losses.hand_over, 'no call was given up');
    assert.equal(grown('collector_restarts_total'), 2);
    const received = total(after, 'events_total') - total(before, 'events_total');
    const calls =
      grown('exports_total') +
      grown('export_failures_total') +
      grown('releases_total') +
      grown('import_rejections_total');
    say(
      `${calls} calls counted, the witness agrees; ${received} events received, ${status.events_unaccounted} unaccounted`,
    );
    assert.ok(calls > 1000, 'there was load');
  },
};
