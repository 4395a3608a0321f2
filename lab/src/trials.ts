import assert from 'node:assert/strict';
import type { BufferView } from '../../server/src/contract/buffers.ts';
import { isUsual, isUsualOnce } from './cells.ts';
import { HANDOVER } from './handover.ts';
import { exportsDmaBufs } from './kernels.ts';
import type { Lab } from './lab.ts';
import { OPERATORS } from './operators.ts';
import { contradictions, oracleSince, readOracle } from './oracle.ts';
import { QEMU_IOMMUFD } from './qemu-iommufd.ts';
import { QEMU_VM } from './real-qemu.ts';
import { changed, type Samples, total } from './samples.ts';
import { acceptSkippedRuns } from './scenario.ts';
import { PLAIN, RESETTABLE } from './scenarios/names.ts';
import type { Trial } from './trial.ts';
import { UNITS } from './units.ts';

async function liveBuffers(lab: Lab): Promise<BufferView[]> {
  const { body } = await lab.get('/api/v1/buffers?limit=1000');
  return (JSON.parse(body) as { buffers: BufferView[] }).buffers.filter(({ state }) => state !== 'released');
}

/** Counter samples that are lower than before. */
function decreased(before: Samples, after: Samples): string[] {
  return [...before].flatMap(([key, value]) =>
    /_(total|count|sum|bucket)(\{|$)/.test(key) && (after.get(key) ?? 0) < value
      ? [`${key}: ${value} -> ${after.get(key)}`]
      : [],
  );
}

const FLOOD = { exports: 80_000, rejected: 40_000, vgem: 14_000 };

export const TRIALS: readonly Trial[] = [
  {
    name: 'flood',
    title:
      '134,000 exports and rejections at full speed: counters are exact, and so is the number of lost events',
    belongs: isUsual,
    run: async (lab, log) => {
      await lab.settle();
      const [before, oracleBefore, statusBefore] = [
        await lab.samples(),
        await readOracle(lab.guest),
        await lab.status(),
      ];
      const { exports, rejected, vgem } = FLOOD;
      const report = await lab.command(
        `/lab/bin/flood --device ${PLAIN} --region 2 --exports ${exports} --rejected ${rejected} --vgem ${vgem} --threads 2`,
        400,
      );
      log(report.trim());
      let last = -1;
      await lab.until('no more events to arrive', 300, async () => {
        const { events_received: received } = await lab.settle();
        const unchanged = received === last;
        last = received;
        return unchanged;
      });
      const [after, recorded, status] = [
        await lab.samples(),
        oracleSince(oracleBefore, await readOracle(lab.guest)),
        await lab.status(),
      ];
      const delta = changed(before, after);
      const skipped = await acceptSkippedRuns(lab, statusBefore.losses, contradictions(recorded, delta), {
        recorded,
        delta,
      });
      if (skipped > 0) log(`the kernel skipped ${skipped} probe runs, and the tracer reported them`);
      const made = Object.fromEntries(
        [...report.matchAll(/(\w+)=(\d+)/g)].map(([, key, value]) => [key, Number(value)]),
      );
      for (const [name, calls = 0] of [
        ['exports_total', made.exports],
        ['export_rejections_total', made.rejected],
        ['import_rejections_total', made.vgem_rejected],
      ] as const) {
        const counted = total(new Map(Object.entries(delta)), name);
        assert.ok(
          counted <= calls && counted >= calls - skipped,
          `${name}: ${counted} of ${calls} calls counted`,
        );
      }

      const emitted = status.events_emitted - statusBefore.events_emitted;
      const received = status.events_received - statusBefore.events_received;
      const lost =
        total(after, 'events_lost_total', 'stage="kernel_ring"') -
        total(before, 'events_lost_total', 'stage="kernel_ring"');
      const calls = (made.exports ?? 0) * 2 + (made.rejected ?? 0) + (made.vgem_rejected ?? 0);
      log(`${calls} events expected, ${emitted} emitted, ${received} received, ${lost} lost`);
      assert.ok(
        emitted <= calls && emitted >= calls - skipped,
        `each call is one event, and each release is another: ${emitted} of ${calls} emitted`,
      );
      assert.ok(lost > 0, 'the flood overran the ring buffer');
      assert.equal(received + lost, emitted, 'each event that was not received is reported as lost');
      assert.equal(status.events_unaccounted, 0, 'all lost events are accounted for');
      await lab.until(
        'the state of the buffers to be exact again',
        120,
        async () => (await lab.status()).buffer_state_exact,
      );
      assert.deepEqual(await liveBuffers(lab), [], 'the flood left no buffer behind');
    },
  },
  QEMU_VM,
  QEMU_IOMMUFD,
  OPERATORS,
  {
    name: 'doctor',
    title: 'on a traced host doctor finds nothing missing and exits with 0',
    belongs: isUsual,
    run: async (lab) => {
      const { status, output } = await lab.guest.run('node /lab/dist/vfio-dmabuf-tracer.mjs doctor --json');
      const { traceable, checks } = JSON.parse(output) as {
        traceable: boolean;
        checks: { name: string; state: string }[];
      };
      const missing = checks.filter(({ state }) => state === 'missing');
      assert.deepEqual({ status, traceable, missing }, { status: 0, traceable: true, missing: [] });
      assert.ok(checks.length > 10);
    },
  },
  {
    name: 'bpftrace-killed',
    title:
      'bpftrace is killed with SIGKILL: no counter decreases, blind time is counted, buffers are reconciled',
    belongs: isUsualOnce,
    run: async (lab, log) => {
      const leaves = await lab.background(
        'leaves',
        `device=${PLAIN}`,
        'export=2,0:4096',
        'touch=/tmp/made',
        'wait=/tmp/leave',
        'close=0',
      );
      await lab.command('while [ ! -e /tmp/made ]; do sleep 0.1; done');
      await lab.settle();
      const before = await lab.samples();
      const generation = (await lab.status()).generation;
      await lab.command('pkill -KILL -x bpftrace');
      await lab.until(
        'the daemon to report that it is blind',
        60,
        async () => (await lab.status()).state === 'blind',
      );
      assert.equal((await lab.get('/-/ready')).status, 503);
      assert.equal((await lab.samples()).get('up'), 0);
      await lab.command('touch /tmp/leave');
      await leaves.finish();
      const comes = await lab.background(
        'comes',
        'vm=guarded,sev-es',
        `device=${RESETTABLE},vm=guarded`,
        'export=2,0:4096',
        'touch=/tmp/come',
        'wait=/tmp/go',
        'close=0',
      );
      await lab.command('while [ ! -e /tmp/come ]; do sleep 0.1; done');
      await lab.until('tracing to resume', 180, async () => (await lab.get('/-/ready')).status === 200);
      await lab.until(
        'the buffers to be reconciled',
        120,
        async () => (await lab.status()).buffer_state_exact,
      );
      const [buffer, ...more] = await liveBuffers(lab);
      assert.deepEqual(more, []);
      assert.equal(buffer?.device, RESETTABLE);
      assert.equal(buffer?.preexisting, true);
      assert.equal(buffer?.bytes, 4096);
      assert.equal(buffer?.vm?.kind, 'sev_es');
      const after = await lab.samples();
      assert.deepEqual(decreased(before, after), []);
      assert.equal((await lab.status()).generation, generation + 1);
      const blind = (after.get('blind_seconds_total') ?? 0) - (before.get('blind_seconds_total') ?? 0);
      log(`blind for ${blind.toFixed(1)} s`);
      assert.ok(blind > 1, 'the blind time is exported');
      assert.equal(total(after, 'collector_restarts_total'), total(before, 'collector_restarts_total') + 1);

      await lab.command('touch /tmp/go');
      await comes.finish();
      await lab.session(`device=${PLAIN}`, 'export=2,0:4096', 'close=0');
      await lab.settle();
      const end = await lab.samples();
      assert.equal(
        total(end, 'exports_total') - total(after, 'exports_total'),
        1,
        'the counters continue from their old values',
      );
      assert.equal(total(end, 'releases_total') - total(after, 'releases_total'), 2);
      assert.deepEqual(await liveBuffers(lab), []);
      await lab.command('rm -f /tmp/go /tmp/leave /tmp/made /tmp/come');
    },
  },
  HANDOVER,
  ...UNITS,
  {
    name: 'daemon-killed',
    title: 'the daemon killed with SIGKILL leaves no bpftrace behind',
    belongs: isUsualOnce,
    run: async (lab) => {
      await lab.command('pgrep -x bpftrace && kill -KILL $(cat /run/tracer/pid)');
      await lab.command(
        'n=0; while pgrep -x bpftrace >/dev/null; do sleep 0.2; n=$((n + 1)); [ $n -lt 50 ] || exit 9; done',
      );
    },
  },
  {
    name: 'all-in-guest',
    guest: 'untraced',
    title: 'collector and server on the traced host, as `run` starts them; the server has no privileges',
    belongs: isUsualOnce,
    run: async (lab, log) => {
      await lab.launchInGuest();
      await lab.until('the daemon to be ready', 300, async () => (await lab.get('/-/ready')).status === 200);
      assert.match((await lab.get('/')).body, /<title>/, 'it serves the page');
      const server = await lab.command("cat /proc/$(pgrep -f 'tracer.mjs server')/status");
      assert.match(server, /^Uid:\t65534\t.*^CapEff:\t0{16}\n.*^NoNewPrivs:\t1$/ms);
      await lab.session(`device=${PLAIN}`, 'export=2,0:4096', 'vgem=0', 'close=0');
      const counted = (name: string): string => `${name}{device="${PLAIN}",privacy="undeclared"}`;
      await lab.until('the export to be counted', 60, async () => {
        const samples = await lab.samples();
        return samples.get(counted('exports_total')) === 1 && samples.get('releases_total') === 1;
      });
      const samples = await lab.samples();
      assert.equal(total(samples, 'import_rejections_total', 'importer="vgem"', `device="${PLAIN}"`), 1);
      assert.deepEqual(
        (await lab.events(0)).map(({ kind }) => kind),
        ['export', 'import', 'release'],
      );
      assert.equal((await lab.status()).events_unaccounted, 0);
      await lab.stopDaemon();
      log(lab.daemonLog().trim().split('\n').at(-1) ?? '');
    },
  },
  {
    name: 'untraceable-host',
    guest: 'untraced',
    title: 'without bpftrace, root or VFIO, --strict prints the cause and the fix and exits with 3',
    belongs: isUsualOnce,
    run: async (lab) => {
      const strict = async (prefix: string, flags: string): Promise<string> => {
        const { status, output } = await lab.guest.run(
          `${prefix} node /lab/dist/vfio-dmabuf-tracer.mjs run --strict --web.listen-address 127.0.0.1:10044 ${flags} 2>&1`,
        );
        assert.equal(status, 3, output);
        return output;
      };
      assert.match(await strict('', '--bpftrace.path /nonexistent/bpftrace'), /bpftrace.*\n(.*\n)*.*fix/);
      assert.match(await strict('setpriv --reuid 65534 --clear-groups', ''), /root.*\n(.*\n)*.*fix/);
      await lab.command(
        `for device in /sys/bus/pci/drivers/vfio-pci/0*; do echo "\${device##*/}" >/sys/bus/pci/drivers/vfio-pci/unbind; done
         rmmod iommufd vfio_pci vfio_pci_core`,
      );
      assert.match(await strict('', ''), /vfio.*\n(.*\n)*.*fix/i);
      await lab.launchInGuest();
      await lab.until('the daemon to answer', 60, async () => (await lab.get('/-/healthy')).status === 200);
      await lab.until(
        'the daemon to have checked the host',
        60,
        async () => (await lab.status()).state === 'unavailable',
      );
      assert.equal((await lab.get('/-/ready')).status, 503);
      const samples = await lab.samples();
      assert.equal(samples.get('up'), 0);
      assert.equal(total(samples, 'probe_attached'), 0);
      assert.equal(samples.has('exports_total'), false);
      await lab.stopDaemon();
    },
  },
  {
    name: 'no-vfio-dmabuf',
    guest: 'untraced',
    title:
      'a kernel that cannot export VFIO memory: nothing is traced, metrics are absent instead of 0, and the fix is reported',
    belongs: ({ kernel }) => !exportsDmaBufs(kernel),
    run: async (lab) => {
      const { status: code, output } = await lab.guest.run(
        'node /lab/dist/vfio-dmabuf-tracer.mjs run --strict --web.listen-address 127.0.0.1:10044 2>&1',
      );
      assert.equal(code, 3, output);
      assert.match(output, /VFIO dma-buf export.*\n(.*\n)*.*fix.*6\.19 or newer/);
      await lab.launchInGuest();
      await lab.until(
        'the daemon to have checked the host',
        120,
        async () =>
          (await lab.get('/-/healthy')).status === 200 && (await lab.status()).state === 'unavailable',
      );
      const { dialect, problem, probes } = await lab.status();
      assert.equal(dialect, 'core', 'the kernel has the dma-buf core, but not VFIO dma-buf export');
      assert.match(problem?.remedy ?? '', /6\.19 or newer/);
      assert.deepEqual(
        probes.filter(({ attached, reason }) => attached || reason === null),
        [],
        'every probe has a reason why it is not attached',
      );
      const ready = await lab.get('/-/ready');
      assert.equal(ready.status, 503);
      assert.match(ready.body, /VFIO dma-buf export/);
      const samples = await lab.samples();
      assert.equal(samples.get('up'), 0);
      assert.equal(total(samples, 'probe_attached'), 0);
      for (const name of ['exports_total', 'buffers', 'imports_total', 'revocations_total'])
        assert.equal(
          [...samples.keys()].some((key) => key.startsWith(name)),
          false,
          `${name} is absent, not 0`,
        );
      await lab.stopDaemon();
    },
  },
  {
    name: 'guest-panics',
    guest: 'untraced',
    title:
      'a guest that panics is reported with its console, and waiting for a guest that does not answer times out',
    belongs: isUsualOnce,
    run: async (lab) => {
      await assert.rejects(lab.guest.run('sleep 5', 2), /no answer to: sleep 5 \(after 2 s\)/);
      await assert.rejects(
        lab.guest.run('echo c >/proc/sysrq-trigger', 60),
        /the guest has ended[\s\S]*Kernel panic/,
      );
    },
  },
];
