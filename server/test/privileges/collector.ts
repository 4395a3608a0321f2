// Runs the collector on a fake host with a fake bpftrace, prints its stream, and ends after the first snapshot and process.

import type { TestContext } from 'node:test';
import { pino } from 'pino';
import { wantedBy } from '../../src/bpftrace/compiler/compose.ts';
import { loadFragments } from '../../src/bpftrace/compiler/fragment.ts';
import { createLiveSource } from '../../src/collector/collector.ts';
import { probesDirectory } from '../../src/lib/probes-directory.ts';
import { fakeHost } from '../collector/fake-host.ts';
import { fakeBpftrace } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';

const ends: (() => Promise<void>)[] = [];
const context = { after: (end: () => Promise<void>) => ends.push(end) } as unknown as TestContext;
const { procRoot, sysRoot, etcRoot, loadModule, addProcess } = await fakeHost(context);
const fragments = await loadFragments(probesDirectory());
const { functions, members } = wantedBy(fragments);
await loadModule('vfio_pci_core', functions, members);
await addProcess(1, 1);
const source = createLiveSource({
  fragments,
  bpftrace: await fakeBpftrace(context, 'counting'),
  mapKeys: 4096,
  tracer: 'test',
  logger: pino({ level: 'silent' }),
  procRoot,
  sysRoot,
  etcRoot,
  uid: 0,
});
const stop = new AbortController();
const limit = setTimeout(() => process.exit(1), 120_000);
const missing = new Set(['snapshot', 'process', 'read_end']);
await source.run(({ raw, record }) => {
  process.stdout.write(`${raw}\n`);
  missing.delete(record.type);
  if (missing.size === 0) stop.abort();
}, stop.signal);
clearTimeout(limit);
for (const end of ends) await end();
