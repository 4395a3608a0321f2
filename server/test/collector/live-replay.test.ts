import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Catalogue } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import { Recorder } from '../../src/protocol/recorder.ts';
import { RecordingSource } from '../../src/protocol/recording.ts';
import type { LineSource } from '../../src/protocol/source.ts';
import { Pipeline } from '../../src/tracer/pipeline.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { tee } from '../fixtures/tee.ts';
import { has, type Live, live, until } from './live-run.ts';

/** Everything that is served from the model after the source has ended. */
async function served(source: LineSource): Promise<Record<string, unknown>> {
  const model = new TracerModel({ version: 'test', source: { kind: 'live', name: 'test' } });
  const pipeline = new Pipeline({ source, model });
  const events: unknown[] = [];
  pipeline.subscribe((event) => events.push(event));
  await pipeline.run(new AbortController().signal);
  const metrics = await renderMetrics(new Catalogue({ model, processMetrics: false }), 'text');
  const incidents = model.incidents.all();
  const devices = model.devices();
  return { events, status: model.status(), buffers: model.buffers(), incidents, devices, metrics };
}

/** Applies the records of a live run, records its lines, and compares the result with that of the recording. */
async function assertReplays(t: TestContext, run: Live): Promise<Record<string, unknown>> {
  await run.stop();
  const path = join(await temporaryFolder(t), 'stream.ndjson.gz');
  const source: LineSource = {
    kind: 'live',
    name: 'test',
    run: async (onLine) => {
      for (const line of run.lines) onLine(line);
    },
  };
  const fromLive = await served(tee(source, new Recorder({ path })));
  assert.deepEqual(await served(new RecordingSource({ path })), fromLive);
  return fromLive;
}

test('a live stream and the replay of its recording give the same model', async (t) => {
  const run = await live(t, {
    mode: 'events',
    argument: '77',
    prepare: async ({ addProcess, procRoot }) => {
      await addProcess(77, 5, ['qemu-system-x86_64', '-name', 'guest=web']);
      // The decoder shortens the text of the collector's own lines too.
      await writeFile(join(procRoot, 'sys/kernel/osrelease'), `7.3.4-${'x'.repeat(300)}\n`);
    },
  });
  await until(() => has(run, 'export') && has(run, 'process') && run.snapshots().length > 0);
  const { status, events } = await assertReplays(t, run);
  assert.match((status as { kernel: string }).kernel, /^7\.3\.4-x+…$/);
  assert.equal((events as unknown[]).length, 1);
});

for (const mode of ['garbage', 'binary', 'crash', 'lossy'])
  test(`a live stream and its replay give the same model if the child prints as in the mode ${mode}`, async (t) => {
    const run = await live(t, { mode });
    await until(() => run.lines.filter(({ record }) => record.type === 'heartbeat').length > 2);
    await assertReplays(t, run);
  });
