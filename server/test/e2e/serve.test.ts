import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { exported, HEADER, heartbeat, readEnd, ready, starting } from '../fixtures/stream-lines.ts';
import { Program } from './program.ts';

const program = new Program();
before(() => program.build());
after(() => program.remove());

test('serve - follows the stream of another collector live, and exits with 1 when the stream ends', async (t) => {
  const serving = await program.serve(t, ['serve', '-']);
  const { stdin } = serving.child;
  const ask = (path: string): Promise<Response> => fetch(serving.url + path);
  assert.equal((await ask('/-/ready')).status, 503, 'no line has arrived yet');
  const second = 1_000_000;
  const start = JSON.parse(HEADER) as { data: { boot_epoch_us: number } };
  start.data.boot_epoch_us = Date.now() * 1000 - 3 * second;
  const lines = [
    JSON.stringify(start),
    starting(1, 1),
    ready(2),
    exported({ t: 2, inode: 7 }),
    heartbeat(3 * second, 1),
    readEnd(3 * second, 0),
  ];
  stdin?.write(`${lines.join('\n')}\n`);
  await serving.until(async () => (await ask('/-/ready')).status === 200, 'the daemon to be ready');
  const status = (await (await ask('/api/v1/status')).json()) as { source: unknown; state: string };
  assert.deepEqual([status.source, status.state], [{ kind: 'live', name: '-' }, 'tracing']);
  stdin?.write(`${heartbeat(4 * second, 1)}\n`);
  stdin?.end();
  assert.equal(await serving.ended, 1);
  assert.match(serving.log, /the stream has ended/);
});
