import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Compile } from 'typebox/compile';
import { print } from '../../../src/cli/output.ts';
import { DaemonClient, type DaemonClientOptions } from '../../../src/cli/watch/daemon-client.ts';
import { Viewer } from '../../../src/cli/watch/daemon-state.ts';
import { follow, messagesOf } from '../../../src/cli/watch/follow.ts';
import { drawAll, drawFrame, type FrameInput } from '../../../src/cli/watch/frame.ts';
import { Screen } from '../../../src/cli/watch/screen.ts';
import { cellOf } from '../../../src/cli/watch/table.ts';
import { FIRST_VIEW } from '../../../src/cli/watch/view.ts';
import { INCIDENT_KINDS } from '../../../src/contract/incidents.ts';
import { Status } from '../../../src/contract/status.ts';
import { TracerError } from '../../../src/lib/errors.ts';
import { Collected } from '../../fixtures/collected.ts';
import { WATCH_STREAM } from '../../fixtures/watch-stream.ts';
import { build } from '../../http/build.ts';

const STATUS = Compile(Status);

/** A client of a server with any answer. Any program can listen on the daemon's port while the daemon does not run. */
async function hostile(
  t: TestContext,
  answer: RequestListener,
  options?: DaemonClientOptions,
): Promise<DaemonClient> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return new DaemonClient(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), options);
}

function isShown(what: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof TracerError && error.isUserError, String(error));
    assert.match(error.message, what);
    assert.doesNotMatch(error.describe(), /[^\P{Cc}\n]|\p{Cf}/u);
    assert.ok(error.describe().length < 2000);
    return true;
  };
}

/** All answers of a real daemon that `watch` reads, by path without the query. */
async function genuine(t: TestContext): Promise<Map<string, unknown>> {
  const { app } = await build(t, { lines: [...WATCH_STREAM], keep: 1000 });
  const answers = new Map<string, unknown>();
  for (const path of ['status', 'incidents', 'rejections', 'reasons', 'buffers']) {
    answers.set(`/api/v1/${path}`, (await app.inject(`/api/v1/${path}`)).json());
  }
  return answers;
}

/** A client of a server with the answers of a real daemon, in which `change` replaces each text. */
async function changed(t: TestContext, change: (text: string, key: string) => string): Promise<DaemonClient> {
  const answers = await genuine(t);
  return await hostile(t, ({ url = '' }, response) => {
    const value = answers.get(url.split('?')[0] ?? '');
    const text = JSON.stringify(value, (key, one: unknown) =>
      typeof one === 'string' ? change(one, key) : one,
    );
    response.end(url === '/-/ready' ? change('not ready: it waits', 'ready') : text);
  });
}

const EVIL = '\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\u{e0041}\r\n\x9d';
/** The schema allows only certain values in these fields; other texts may be anything. */
const ENUMS =
  /^(kind|state|severity|change|by|stage|reason|cause|revoke_cause|privacy|dialect|violation|reader|closed_by)$/;
const KINDS: readonly string[] = INCIDENT_KINDS;

async function inputOf(client: DaemonClient, signal: AbortSignal): Promise<FrameInput> {
  const daemon = await new Viewer(client, { device: undefined, state: undefined }).read(signal);
  const common = { url: client.url, view: FIRST_VIEW, vm: undefined, nowMs: 0, wallMs: 0 };
  return { ...common, daemon, lost: { sinceMs: 0, why: EVIL, againMs: 0 } };
}

test('control characters in the texts of a server do not reach the terminal', async (t) => {
  let evil = 0;
  const client = await changed(t, (text, key) => {
    if (ENUMS.test(key) || KINDS.includes(text) || /^\d{4}-\d\d-\d\dT/.test(text)) return text;
    evil += 1;
    return `${EVIL}${text}${EVIL}`;
  });
  const input = await inputOf(client, t.signal);
  assert.ok(evil > 500, `only ${evil}`);
  const once = new Collected();
  await print(
    once,
    `${drawAll(input)
      .map(({ text }) => text)
      .join('\n')}\n`,
  );
  const whole = once.text;
  assert.ok(whole.includes('owned'));
  assert.doesNotMatch(whole, /[^\P{Cc}\n]|\p{Cf}/u);
  const terminal = new Collected();
  const screen = new Screen(Object.assign(terminal, { isTTY: true, columns: 200, rows: 60 }) as never, true);
  screen.show(drawFrame(input, 200, 60).lines);
  const own = /^E\[\?2026hE\[H|E\[(?:[0-9;]+)m|\r\n|E\[\?2026l$/.source.replaceAll('E', '\x1b');
  assert.doesNotMatch(terminal.text.replaceAll(new RegExp(own, 'g'), ''), /\p{Cc}|\p{Cf}/u);
});

test('a very long text of a cell is cut before its width is measured', async (t) => {
  const long = 'w'.repeat(100_000);
  assert.ok(cellOf(long).length <= 1000);
  const input = await inputOf(await changed(t, (text, key) => (key === 'comm' ? long : text)), t.signal);
  for (const { text } of drawAll(input)) assert.ok(text.length < 5000);
});

test('an answer with a missing field or a wrong type is an error that names it, without a stack trace', async (t) => {
  const answers = await genuine(t);
  for (const path of answers.keys()) {
    for (const wrong of [null, 7, 'text', [], {}, { buffers: [{}] }, true]) {
      const client = await hostile(t, ({ url = '' }, response) => {
        const asked = url.split('?')[0] ?? '';
        response.end(
          url === '/-/ready' ? 'ready\n' : JSON.stringify(asked === path ? wrong : answers.get(asked)),
        );
      });
      const look = new Viewer(client, { device: undefined, state: undefined }).read(t.signal);
      await assert.rejects(
        look,
        isShown(/cannot be read: \/api\/v1\/|is not a vfio-dmabuf-tracer/),
        `${path} ${JSON.stringify(wrong)}`,
      );
    }
  }
  const status = answers.get('/api/v1/status') as Record<string, unknown>;
  for (const key of Object.keys(Status.properties)) {
    const client = await hostile(t, (_request, response) =>
      response.end(JSON.stringify({ ...status, [key]: { toString: 1 } })),
    );
    if (key === 'losses' || key === 'open_incidents') continue;
    await assert.rejects(
      client.json('/api/v1/status', STATUS, t.signal),
      isShown(new RegExp(`/${key}`)),
      key,
    );
  }
});

for (const [name, answer] of [
  ['text that is not JSON', (_request, response) => response.end('<html>')],
  ['incomplete JSON', (_request, response) => response.end('{"version":')],
  ['a redirect to itself', (request, response) => response.writeHead(302, { location: request.url }).end()],
  [
    'a compressed answer',
    (_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(10 << 20)));
    },
  ],
  [
    'an error without a message',
    (_request, response) => response.writeHead(500).end('{"error":{"message":7}}'),
  ],
  ['null as an error', (_request, response) => response.writeHead(400).end('null')],
] as [string, RequestListener][]) {
  test(`${name} is rejected as the answer of another program`, async (t) => {
    const client = await hostile(t, answer);
    await assert.rejects(
      client.json('/api/v1/status', STATUS, t.signal),
      isShown(/is not a vfio-dmabuf-tracer/),
    );
    await assert.rejects(
      client.stream('/api/v1/stream', undefined, t.signal).next(),
      isShown(/is not a vfio-dmabuf-tracer/),
    );
  });
}

test('the error message of a server is shown on one short line', async (t) => {
  const error = {
    code: 'x',
    message: `${EVIL}${'m'.repeat(1e6)}`,
    where: null,
    hint: `${EVIL}${'h'.repeat(1e6)}`,
  };
  const client = await hostile(t, (_request, response) =>
    response.writeHead(500).end(JSON.stringify({ error })),
  );
  await assert.rejects(client.json('/api/v1/status', STATUS, t.signal), isShown(/owned.*mmm/));
});

/** Sends as long as the client reads, and counts the bytes. */
function flood(chunk: Buffer): { answer: RequestListener; sent: () => number } {
  let sent = 0;
  const answer: RequestListener = (_request, response) => {
    const more = (): void => {
      while (!response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) break;
      }
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.on('drain', more);
    more();
  };
  return { answer, sent: () => sent };
}

test('an endless answer is cut off at its size limit', async (t) => {
  const { answer, sent } = flood(Buffer.alloc(65_536, ' '));
  const client = await hostile(t, answer);
  const before = process.memoryUsage().rss;
  await assert.rejects(
    client.json('/api/v1/status', STATUS, t.signal, 4 << 20),
    isShown(/is longer than 4 MiB/),
  );
  await assert.rejects(client.json('/api/v1/buffers', STATUS, t.signal), isShown(/is longer than 64 MiB/));
  assert.ok(sent() < 150 << 20, `${sent() >> 20} MiB`);
  assert.ok(process.memoryUsage().rss - before < 400 << 20);
});

test('an answer or headers that arrive a byte at a time are cut off at the time limit', async (t) => {
  const slowly: RequestListener = (_request, response) => {
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  };
  const dripping = await hostile(t, slowly, { answerMs: 200 });
  await assert.rejects(
    dripping.json('/api/v1/status', STATUS, t.signal),
    isShown(/not complete after 0\.2 s/),
  );
  const interim: RequestListener = (_request, response) => {
    const timer = setInterval(() => response.writeProcessing(), 20);
    response.on('close', () => clearInterval(timer));
  };
  const never = await hostile(t, interim, { answerMs: 200 });
  await assert.rejects(
    never.stream('/api/v1/stream', undefined, t.signal).next(),
    isShown(/not complete after 0\.2 s/),
  );
});

test('the time limit of an answer does not end a healthy stream', async (t) => {
  const client = await hostile(
    t,
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': log\n\n');
      const timer = setTimeout(() => response.end('id: a.1\ndata: {"kind":"x"}\n\n'), 2500);
      response.on('close', () => clearTimeout(timer));
    },
    // The headers arrive within this time also on a busy machine.
    { answerMs: 2000 },
  );
  let text = '';
  for await (const chunk of client.stream('/api/v1/stream', undefined, t.signal)) text += chunk;
  assert.match(text, /kind/);
});

test('an endless message is an error at its size limit', async () => {
  const chunk = 'x'.repeat(1 << 20);
  let given = 0;
  const endless = async function* () {
    for (; given < 1000; given++) yield chunk;
  };
  await assert.rejects(async () => {
    for await (const _ of messagesOf(endless())) assert.fail('no message is complete');
  }, RangeError);
  assert.ok(given < 20, `${given} MiB`);
});

for (const [name, message, what] of [
  ['text that is not JSON', 'id: a.1\ndata: {"kind"\n\n', /must be an event/],
  ['a number', 'id: a.1\ndata: 7\n\n', /must be an event/],
  ['a wrong kind', 'id: a.1\ndata: {"kind":7}\n\n', /must be an event/],
  ['a list of dropped events', 'event: dropped\nid: a.1\ndata: [1]\n\n', /must be an object/],
  [
    'an id that is not allowed in a header',
    'id: a\u0100x\ndata: {"kind":"x"}\n\n',
    /id: has a wrong character/,
  ],
  ['an id of kilobytes', `id: ${'a'.repeat(5000)}\ndata: {"kind":"x"}\n\n`, /id: has a wrong character/],
  ['a message without an id', 'data: {"kind":"x"}\n\n', /id: has a wrong character/],
  ['a log of a wrong name', '', /id: has a wrong character/],
] as const) {
  test(`a stream with ${name} is an error without a stack trace`, async (t) => {
    const client = await hostile(t, ({ url = '' }, response) => {
      if (url.startsWith('/api/v1/events')) {
        response.end(JSON.stringify({ log: message === '' ? 'a\n' : 'a', newest: 0 }));
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(message);
    });
    const stop = new AbortController();
    const lines: string[] = [];
    const following = follow({
      client,
      device: undefined,
      write: async (line) => void lines.push(line),
      notify: (text) => {
        lines.push(text);
        stop.abort();
      },
      clock: { sleep: async () => {} },
      signal: stop.signal,
    });
    await following.catch((error: unknown) =>
      lines.push(error instanceof TracerError ? error.message : `stack: ${error}`),
    );
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.match(lines[0] ?? '', what);
  });
}
