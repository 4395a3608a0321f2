import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import stringWidth from 'string-width';
import { DaemonClient } from '../../../src/cli/watch/daemon-client.ts';
import { type Asked, Viewer } from '../../../src/cli/watch/daemon-state.ts';
import { drawAll, drawFrame, type FrameInput } from '../../../src/cli/watch/frame.ts';
import { FIRST_VIEW } from '../../../src/cli/watch/view.ts';
import type { Status } from '../../../src/contract/status.ts';
import { HttpServer } from '../../../src/http/server.ts';
import { busyHost } from '../../fixtures/busy-host.ts';
import { WATCH_STREAM, WIDE_NAME } from '../../fixtures/watch-stream.ts';
import { build } from '../../http/build.ts';

async function seen(
  t: TestContext,
  asked: Partial<Asked> = {},
  lines: readonly string[] = WATCH_STREAM,
): Promise<FrameInput> {
  const { app } = await build(t, { lines: [...lines], keep: 1000 });
  const server = new HttpServer({ app, addresses: ['127.0.0.1:0'], logger: pino({ level: 'silent' }) });
  await server.start();
  t.after(() => server.stop());
  const client = new DaemonClient(new URL(server.urls[0] ?? ''));
  const daemon = await new Viewer(client, { device: undefined, state: undefined, ...asked }).read(t.signal);
  const nowMs = Date.parse('2023-11-14T22:14:20Z');
  return {
    url: 'http://h:1',
    daemon,
    view: FIRST_VIEW,
    vm: undefined,
    nowMs,
    wallMs: nowMs,
    lost: undefined,
  };
}

function texts(input: FrameInput, columns = 120, rows = 40) {
  return drawFrame(input, columns, rows).lines.map(({ text }) => text);
}
function withStatus(input: FrameInput, change: Partial<Status>): FrameInput {
  return {
    ...input,
    daemon: { ...input.daemon, status: { ...input.daemon.status, ...change } },
  };
}

test('a frame fills a screen of any size exactly', async (t) => {
  const input = await seen(t);
  for (const [columns, rows] of [
    [120, 40],
    [60, 20],
    [200, 60],
    [20, 10],
    [10, 4],
    [1, 1],
  ] as const) {
    for (const help of [false, true]) {
      const lines = texts({ ...input, view: { ...FIRST_VIEW, help } }, columns, rows);
      assert.equal(lines.length, rows, `${columns}x${rows}`);
      for (const text of lines) assert.equal(stringWidth(text), columns, JSON.stringify(text));
    }
  }
});

test('a frame shows the state of the daemon, then incidents, buffers and rejections with the sentence of the reason', async (t) => {
  const lines = texts(await seen(t));
  assert.match(lines[1] ?? '', /^Tracing; kernel 7\.3\.4, dialect private-v1/);
  const at = (pattern: RegExp) => lines.findIndex((text) => pattern.test(text));
  const [incidents, buffers, rejections] = [
    /^Open incidents \(4 of 9\)/,
    /^Buffers \(40\), rows 1 to/,
    /^Newest rejections \(3\)/,
  ].map(at);
  assert.ok(incidents !== undefined && incidents > 0);
  assert.ok(buffers !== undefined && buffers > incidents && (rejections ?? 0) > buffers);
  assert.match(
    lines[buffers + 1] ?? '',
    /^DEVICE +BAR +SIZE +PRIVACY +STATE +REVOKED BY +VM +IMPORTERS +OWNER +AGE/,
  );
  assert.match(
    lines[buffers + 2] ?? '',
    new RegExp(`^0000:41:00\\.0 +2 +8 KiB +shared +revoked +flr +${WIDE_NAME} .* qemu \\(101\\) +57 s`),
  );
  assert.ok(at(/no_peer_to_peer: The importer cannot use memory of a device/) > buffers);
});

test('a narrow screen keeps the most important columns', async (t) => {
  const lines = texts(await seen(t), 60, 20);
  assert.ok(
    lines.some((text) => /^DEVICE +SIZE +PRIVACY +STATE +VM +$/.test(text)),
    lines.join('\n'),
  );
});

test('a filter matches all texts, and --vm matches VMs only', async (t) => {
  const input = await seen(t);
  const filtered = texts({ ...input, view: { ...FIRST_VIEW, filter: 'WEB-1' } });
  assert.ok(filtered.some((text) => text.startsWith('Buffers (8 of 40)')));
  assert.ok(filtered.some((text) => text.startsWith('Newest rejections (0 of 3)')));
  assert.ok(filtered.some((text) => text.includes('filter: WEB-1')));
  assert.ok(texts({ ...input, vm: 'train' }).some((text) => text.startsWith('Buffers (8 of 40)')));
});

test('the daemon filters by --device and --state', async (t) => {
  assert.equal((await seen(t, { device: '43:00.0' })).daemon.total, 8);
  assert.equal((await seen(t, { state: 'revoked' })).daemon.total, 1);
});

test('losses, simulation, blind time, replay and a lost connection are each reported in a line', async (t) => {
  const input = await seen(t);
  input.daemon.incidents.incidents = [];
  const has = (changed: FrameInput, pattern: RegExp, style: string) => {
    const { lines } = drawFrame(changed, 160, 40);
    assert.ok(
      lines.some((line) => pattern.test(line.text) && line.style === style),
      lines.map(({ text }) => text).join('\n'),
    );
  };
  const live = { kind: 'live', name: 'bpftrace' } as const;
  has(
    withStatus(input, { losses: { ring: 3, splitter: 0 } }),
    /3 events or counts were lost \(ring 3\): /,
    'warning',
  );
  has(
    withStatus(input, { buffer_state_exact: false }),
    /A snapshot is being taken after a blind time/,
    'warning',
  );
  const replayed = { source: { kind: 'replay', name: 'a' }, buffer_state_exact: false } as const;
  has(withStatus(input, replayed), /^INEXACT: /, 'loud');
  has(withStatus(input, { decode_errors: 2 }), /2 lines of the stream could not be read\./, 'warning');
  has(withStatus(input, { missed_returns: 2 }), /The return of 2 calls was not traced\./, 'warning');
  has(withStatus(input, { blind_seconds: 12 }), /^BLIND BEFORE: .*12\.0 s/, 'loud');
  has(withStatus(input, { simulation: 'loss=10%' }), /^SIMULATED: loss=10%/, 'loud');
  has(
    withStatus(input, { source: { kind: 'replay', name: 'a\x1b[2J.gz' } }),
    /^REPLAY of a\ufffd\[2J\.gz: not this host/,
    'warning',
  );
  const problem = { reason: 'killed', message: 'killed', remedy: null } as const;
  const blind = withStatus(input, { state: 'blind', source: live, problem });
  has(blind, /^BLIND: Nothing is traced now: bpftrace does not run\./, 'loud');
  has(blind, /^ {2}killed\./, 'loud');
  const sinceMs = input.wallMs - 5000;
  has(
    { ...input, lost: { sinceMs, why: 'nothing listens there', againMs: 1500 } },
    /^CONNECTION LOST at 22:14:15Z, 5 s ago \(retry in 2 s\): nothing listens/,
    'loud',
  );
});

test('the rows of the table scroll, and its header does not', async (t) => {
  const input = await seen(t);
  const { page, last } = drawFrame(input, 120, 40);
  assert.equal(last, 40 - page);
  const end = texts({ ...input, view: { ...FIRST_VIEW, scroll: 1000 } });
  assert.ok(end.some((text) => text.startsWith(`Buffers (40), rows ${last + 1} to 40`)));
  assert.ok(end.some((text) => /^DEVICE /.test(text)));
});

test('a single print has all rows and all incidents', async (t) => {
  const lines = drawAll(await seen(t)).map(({ text }) => text);
  assert.equal(lines.filter((text) => / {2}(live|revoked) {2}/.test(text)).length, 40);
  assert.ok(lines.includes('Open incidents (9)'));
});

for (const name of ['private-bind-after-failed-lookup', 'private-offered']) {
  test(`a critical incident is shown after its end: ${name}`, async (t) => {
    const file = new URL(`../../../../recordings/${name}.ndjson`, import.meta.url);
    const input = await seen(t, {}, readFileSync(file, 'utf8').trimEnd().split('\n'));
    assert.equal(input.daemon.incidents.open, 0);
    const loud = drawAll(input).filter(
      ({ text, style }) => style === 'loud' && text.startsWith('CRITICAL: '),
    );
    assert.equal(loud.length, 1);
  });
}

test('a verdict about one device names the device', async (t) => {
  const lines = texts(await seen(t, { device: '43:00.0' }));
  assert.match(lines[2] ?? '', /^[A-Z ]+ \(43:00\.0 only\): /);
});

test('kinds that cannot be detected are a reason for attention', async (t) => {
  const input = await seen(t);
  input.daemon.incidents.incidents = [];
  input.daemon.incidents.blind_to = [{ kind: 'foreign_vm', probes: ['bind'] }];
  assert.ok(texts(input).some((text) => text.startsWith('ATTENTION: ') && text.includes('foreign vm')));
});

test('the title of the newest rejections has the number that was counted, not the number that was requested', async (t) => {
  const lines = [...busyHost({ vms: 2, buffers: 6, rejections: 150 })];
  const titles = async (asked: Partial<Asked>) => {
    const input = await seen(t, asked, lines);
    return texts(input).filter((text) => text.startsWith('Newest rejections'));
  };
  assert.match((await titles({}))[0] ?? '', /^Newest rejections \(7 of 151\)/);
  const ofDevice = (await titles({ device: '41:00.0' }))[0] ?? '';
  assert.match(ofDevice, /^Newest rejections \(1\)/, 'if there are fewer than requested, they are all');
});
