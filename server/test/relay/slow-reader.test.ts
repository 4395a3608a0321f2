import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { Relay } from '../../src/relay/relay.ts';
import { feed } from '../fixtures/feed.ts';
import {
  collectorLine,
  counterLine,
  DEVICE,
  exited,
  exported,
  HEADER,
  heartbeat,
  readEnd,
  ready,
  starting,
} from '../fixtures/stream-lines.ts';
import { GatedSink, turns } from './gated-sink.ts';

const SECOND = 1_000_000;

/** A host that exports buffers, whose kernel loses events and whose bpftrace crashes. */
class Host {
  readonly lines: string[] = [HEADER];
  t = 2 * SECOND;
  #generation = 0;
  #emitted = 0;
  #printed = 0;
  #exports = 0;
  #splitterDrops = 0;

  start(): void {
    this.#generation += 1;
    this.#emitted = 0;
    this.#printed = 0;
    this.#exports = 0;
    // One probe is enough, so that the line is short.
    this.#print(starting(this.t, this.#generation).replace(/"probes":\[.*\]/, '"probes":[]'), ready(this.t));
  }

  exports(count: number): void {
    for (let index = 0; index < count; index += 1) {
      this.#emitted += 1;
      this.#exports += 1;
      this.#print(exported({ t: this.t, inode: this.t + index, pid: 1 + (this.t % 7) }));
    }
  }

  /** Events that the kernel's ring has lost. */
  lose(count: number): void {
    this.#emitted += count;
    this.#exports += count;
  }

  /** An event that the collector has dropped. */
  drop(): void {
    this.#emitted += 1;
    this.#exports += 1;
    this.#splitterDrops += 1;
    this.#print(collectorLine('loss', { t: this.t, stage: 'splitter', count: this.#splitterDrops }));
  }

  name(pid: number): void {
    const identity = { comm: 'qemu', vmm: 'qemu', name: `vm-${this.t}`, uuid: null };
    this.#print(collectorLine('process', { t: this.t, pid, start_ticks: 1, ...identity }));
    const facts = {
      vendor_id: '10de',
      device_id: '2330',
      driver: 'vfio-pci',
      iommu_group: '1',
      numa_node: 0,
    };
    this.#print(collectorLine('device', { t: this.t, device: `0000:0${pid}:00.0`, ...facts }));
  }

  second(): void {
    this.t += SECOND;
    const counters = [
      counterLine('exports', `${DEVICE},1`, this.#exports),
      counterLine('export_ns', '0', this.#exports),
    ];
    this.#printed += counters.length;
    this.#print(heartbeat(this.t, this.#emitted), ...counters, readEnd(this.t, this.#printed));
  }

  crash(): void {
    // The events that were lost since the last heartbeat are not known to anybody.
    this.second();
    this.#print(exited(this.t, this.#generation));
    this.t += SECOND;
    this.#print(collectorLine('tick', { t: this.t }));
    this.start();
  }

  #print(...lines: string[]): void {
    this.lines.push(...lines);
  }
}

const ACTIONS = {
  exports: (host: Host, count: number) => host.exports(count),
  lose: (host: Host, count: number) => host.lose(count % 4),
  drop: (host: Host) => host.drop(),
  name: (host: Host, count: number) => host.name(1 + (count % 7)),
  second: (host: Host) => host.second(),
  crash: (host: Host) => host.crash(),
} as const;
const SINK = ['close', 'open', 'step', 'turn'] as const;

const step = fc.oneof(
  fc.record({
    action: fc.constantFrom(...(Object.keys(ACTIONS) as (keyof typeof ACTIONS)[])),
    count: fc.nat(300),
  }),
  fc.record({ sink: fc.constantFrom(...SINK) }),
);

test('whenever a reader pauses, its counts are exact, and every event is received or counted as lost', async () => {
  let gaps = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 150 }), async (steps) => {
      const relay = new Relay({ bootUs: () => 0, onResync: () => {} });
      const sink = new GatedSink();
      // Room for what is missed of a child: the limit of that has its own test.
      relay.add(sink, { maxPendingBytes: 24_000 });
      const host = new Host();
      host.start();
      let passed = 0;
      const pass = (): void => {
        for (const line of host.lines.slice(passed)) relay.write(streamLine(line));
        passed = host.lines.length;
      };
      for (const one of steps) {
        if ('action' in one) ACTIONS[one.action](host, one.count);
        else if (one.sink === 'turn') await turns(2);
        else sink[one.sink]();
        pass();
      }
      sink.open();
      await turns(20);
      for (let seconds = 0; seconds < 3; seconds += 1) host.second();
      pass();
      await relay.stop(10_000);
      gaps += relay.dropped.lines > 0 ? 1 : 0;

      const { model: read } = feed(sink.lines);
      const { model: whole } = feed(host.lines);
      assert.deepEqual(read.counters.totals, whole.counters.totals);
      assert.deepEqual(read.devices(), whole.devices());
      assert.equal(read.accounting.losses.relay, relay.dropped.events);
      assert.deepEqual({ ...read.accounting.losses, relay: 0 }, { ...whole.accounting.losses, relay: 0 });
      const { eventsReceived } = read.accounting;
      assert.equal(eventsReceived + relay.dropped.events, whole.accounting.eventsReceived);
      for (const fact of ['eventsEmitted', 'blindSeconds', 'restarts', 'generation', 'state'] as const)
        assert.deepEqual(read.accounting[fact], whole.accounting[fact], fact);
      assert.equal(read.accounting.counterLinesLost, 0);
      assert.ok(read.countersExact);
      for (const { inode } of read.buffers())
        assert.deepEqual(read.buffer(inode)?.owner, whole.buffer(inode)?.owner);
    }),
    { numRuns: 100 },
  );
  assert.ok(gaps > 10, `only ${gaps} runs had a gap`);
});
