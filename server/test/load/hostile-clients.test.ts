import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { Program, type Serving } from '../e2e/program.ts';
import { eventually } from '../fixtures/eventually.ts';
import { manyVms } from '../fixtures/many-vms.ts';
import { RawClient } from '../http/raw-client.ts';

const SCRAPES = 30;
/** Much longer than a scrape takes on a busy machine, and much shorter than the minute for which these clients blocked scrapes before. */
const SCRAPE_MS = 15_000;
/** Without limits, these clients made the daemon use 4 GB. */
const MAX_RESIDENT = 700 << 20;

const program = new Program();
let recording = '';

before(() => {
  program.build();
  recording = join(program.folder, 'vms.ndjson');
  writeFileSync(recording, `${[...manyVms({ vms: 300 })].join('\n')}\n`);
});
after(() => program.remove());

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

/** Serves a recording. `open` connects a client that does not read, and is closed when the test ends. */
async function serve(t: TestContext): Promise<{ serving: Serving; open: () => RawClient }> {
  const serving = await program.serve(t, ['replay', recording]);
  await eventually(async () => assert.equal((await fetch(`${serving.url}/-/ready`)).status, 200));
  const clients: RawClient[] = [];
  t.after(() => {
    for (const { socket } of clients) socket.destroy();
  });
  const open = (): RawClient => {
    const client = new RawClient(Number(new URL(serving.url).port)).stopReading();
    clients.push(client);
    return client;
  };
  return { serving, open };
}

/** Scrapes one after the other, each on a new connection; returns the text of the last scrape. */
async function scrapeAll({ url }: Serving): Promise<string> {
  let text = '';
  for (let scrape = 0; scrape < SCRAPES; scrape++) {
    const answer = await fetch(`${url}/metrics`, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(SCRAPE_MS),
    });
    text = await answer.text();
    assert.equal(answer.status, 200);
  }
  return text;
}

const sampleOf = (text: string, series: string): number =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length + 1),
  );

for (const [name, attack, reason] of [
  [
    'that pipeline requests and do not read the answers',
    (open: () => RawClient) => {
      for (const client of times(7, open)) client.get(...times(1400, () => '/api/v1/buffers?limit=10000'));
    },
    'pipelining',
  ],
  [
    'that pipeline scrapes behind other answers',
    (open: () => RawClient) => {
      open().get(...times(120, () => '/openapi.json'), ...times(40, () => '/metrics'));
    },
    'pipelining',
  ],
  [
    'that open more connections than the limit',
    (open: () => RawClient) => {
      times(550, open);
      for (const client of times(550, open)) client.get('/-/healthy');
    },
    'limit',
  ],
  [
    'that do not read answers on many connections, and that stream from far behind',
    (open: () => RawClient) => {
      for (const client of times(40, open)) client.get('/metrics');
      for (const client of times(200, open)) client.get('/api/v1/buffers?limit=10000');
      for (const client of times(64, open)) {
        client.socket.resume();
        client.socket.write('GET /api/v1/stream HTTP/1.1\r\nhost: localhost\r\nlast-event-id: 0.1\r\n\r\n');
      }
    },
    undefined,
  ],
] as const) {
  test(`clients ${name} do not block scrapes and do not fill the memory`, async (t) => {
    const { serving, open } = await serve(t);
    attack(open);
    const text = await scrapeAll(serving);
    if (reason !== undefined) {
      const series = `vfio_dmabuf_http_connections_dropped_total{reason="${reason}"}`;
      assert.ok(sampleOf(text, series) > 0, `${series} is counted`);
      assert.match(serving.log, /closed a connection/);
    }
    assert.equal(sampleOf(text, 'vfio_dmabuf_scrapes_rejected_total'), 0);
    assert.equal(sampleOf(text, 'vfio_dmabuf_events_dropped_total{stage="sse"}'), 0);
    const resident = sampleOf(text, 'process_resident_memory_bytes');
    t.diagnostic(`resident memory: ${Math.round(resident / (1 << 20))} MiB`);
    assert.ok(resident < MAX_RESIDENT, `${resident} bytes are resident`);
  });
}
