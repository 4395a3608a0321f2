import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import stringWidth from 'string-width';
import { Program, type Serving } from '../e2e/program.ts';
import { eventually } from '../fixtures/eventually.ts';
import { exported } from '../fixtures/stream-lines.ts';
import { WATCH_STREAM, WIDE_NAME } from '../fixtures/watch-stream.ts';
import { Terminal } from './terminal.ts';

const program = new Program();
let recording: string;
before(() => {
  program.build();
  recording = join(program.folder, 'watch.ndjson');
  writeFileSync(recording, `${WATCH_STREAM.join('\n')}\n`);
});
after(() => program.remove());

async function replayed(t: TestContext): Promise<Serving> {
  const serving = await program.serve(t, ['replay', recording]);
  await serving.until(async () => (await fetch(`${serving.url}/-/ready`)).ok, 'the replay to be read');
  return serving;
}

/** Runs `watch` in a terminal whose screen had text before. */
async function watching(t: TestContext, url: string, ...flags: string[]): Promise<Terminal> {
  const terminal = await Terminal.open(t, 120, 40);
  await terminal.until((text) => text.includes('$'), 'the shell');
  terminal.run('echo was-here-before');
  await terminal.until((text) => /^was-here-before$/m.test(text), 'the echo');
  terminal.run(`${process.execPath} ${program.path} watch ${url} ${flags.join(' ')}; echo ended with $?`);
  await terminal.until((text) => text.includes('q quit'), 'the table');
  return terminal;
}

async function assertRestored(terminal: Terminal, code = 0): Promise<void> {
  await terminal.until((text) => text.includes(`ended with ${code}\n`), 'the end');
  assert.deepEqual(terminal.mode, { alternate: false, cursor: true });
  const text = terminal.lines.join('\n');
  assert.match(text, /^was-here-before$/m);
  assert.doesNotMatch(text, /Newest rejections/);
  // The terminal echoes what is typed again, and wraps long lines.
  terminal.type('x'.repeat(130));
  await terminal.until((shown) => /x{100}\n?x+/.test(shown), 'the echo of what is typed');
}

test('watch fills a terminal, follows its size, filters, and restores the terminal at its end', async (t) => {
  const { url } = await replayed(t);
  const terminal = await watching(t, url);
  assert.equal(terminal.mode.alternate, true);
  assert.equal(terminal.mode.cursor, false);
  const wide = terminal.lines;
  assert.equal(wide.length, 40);
  assert.match(wide[1] ?? '', /^REPLAY of watch\.ndjson: not this host, not now/);
  assert.ok(
    wide.some((text) => /^DEVICE .* OWNER +AGE$/.test(text)),
    wide.join('\n'),
  );
  assert.ok(wide.some((text) => text.includes(WIDE_NAME)));
  assert.ok(wide.some((text) => text.includes('evil\ufffd]0;owned\ufffd\ufffd[2J\ufffdvm')));
  assert.ok(
    wide.some((text) => text.includes('no_peer_to_peer: The importer cannot use memory of a device')),
  );
  assert.match(wide.at(-1) ?? '', /^q quit/);

  terminal.resize(60, 20);
  await terminal.until((text) => /^DEVICE +SIZE +PRIVACY +STATE +VM$/m.test(text), 'the narrow table');
  const narrow = terminal.lines;
  assert.equal(narrow.length, 20);
  for (const text of narrow) assert.ok(stringWidth(text) <= 60, text);
  assert.match(narrow.at(-1) ?? '', /^q quit/);

  terminal.type('/WEB-1');
  await terminal.until(
    (text) => /^Buffers \(8 of 40\)/m.test(text) && text.includes('/WEB-1_'),
    'the filter',
  );
  terminal.press('Enter');
  await terminal.until((text) => text.includes('q quit'), 'the filter to be kept');
  assert.ok(terminal.lines.filter((text) => /^0000:/.test(text)).every((text) => /web-1/.test(text)));
  terminal.press('Escape');
  await terminal.until((text) => /^Buffers \(40\), rows 1 to/m.test(text), 'all again');
  terminal.press('NPage');
  await terminal.until((text) => /^Buffers \(40\), rows [2-9]\d* to/m.test(text), 'the next rows');
  terminal.press('?');
  await terminal.until((text) => /^\/ +type a filter/m.test(text), 'the help');

  terminal.resize(120, 40);
  terminal.press('q');
  await assertRestored(terminal);
});

test('Ctrl-C restores the terminal', async (t) => {
  const terminal = await watching(t, (await replayed(t)).url);
  terminal.press('C-c');
  await assertRestored(terminal);
});

test('SIGTERM restores the terminal', async (t) => {
  const terminal = await watching(t, (await replayed(t)).url);
  process.kill(terminal.foreground, 'SIGTERM');
  await assertRestored(terminal);
});

test('a lost connection is shown with its time, and watch reconnects when the daemon is back', async (t) => {
  const first = await replayed(t);
  const { port } = new URL(first.url);
  const terminal = await watching(t, first.url, '--state=revoked');
  assert.ok(terminal.lines.some((text) => text.startsWith('Buffers (1)')));
  first.child.kill('SIGTERM');
  await terminal.until((text) => /^CONNECTION LOST at \d\d:\d\d:\d\dZ, /m.test(text), 'the loss');
  assert.ok(
    terminal.lines.some((text) => text.startsWith('Buffers (1)')),
    'the last table is still shown',
  );
  await first.ended;
  program.start(t, ['replay', recording, `--web.listen-address=127.0.0.1:${port}`]);
  await terminal.until((text) => !text.includes('CONNECTION LOST'), 'the connection');
  terminal.press('q');
  await assertRestored(terminal);
});

test('an unchanged table is not written again, and a key writes one frame', async (t) => {
  const terminal = await watching(t, (await replayed(t)).url);
  const sent = join(program.folder, 'sent');
  terminal.record(sent);
  // The first read after the one that is shown may still be written.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  assert.equal(readFileSync(sent, 'utf8'), '');
  terminal.press('j');
  await terminal.until((text) => /rows 2 to/.test(text), 'the next row');
  // The file may be written later than the screen.
  const frames = (): number => readFileSync(sent, 'utf8').split('\x1b[?2026h').length - 1;
  await eventually(() => assert.ok(frames() > 0));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.equal(frames(), 1);
});

test('without a terminal the tables are printed once, without escape sequences', async (t) => {
  const { url } = await replayed(t);
  const { code, stdout, stderr } = program.run(['watch', url]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^REPLAY of watch\.ndjson/m);
  assert.equal([...stdout.matchAll(/^0000:.* {2}(live|revoked) {2}/gm)].length, 40);
  assert.ok(!stdout.includes('\x1b'));
  const { stdout: few } = program.run(['watch', `${url}/`, '--device', '43:00.0', '--vm=WEB', '--once']);
  assert.equal([...few.matchAll(/^0000:43:00\.0 .* {2}live {2}/gm)].length, 8);
});

for (const [args, code, message] of [
  [
    ['http://127.0.0.1:1'],
    1,
    /no daemon can be reached at http:\/\/127\.0\.0\.1:1: nothing listens there\n.*fix: start it/,
  ],
  [
    ['127.0.0.1:10043'],
    2,
    /is not the URL of a daemon: it does not begin with http:\/\/ or https:\/\/\n.*\n.*http:\/\/127/,
  ],
  [['--state=lve'], 2, /--state cannot be "lve"\n.*\n.*did you mean live\?/],
  [['--json', '--vm=x'], 2, /--vm cannot be combined with --json/],
] as const) {
  test(`watch ${args.join(' ')} exits with ${code} and prints the cause`, () => {
    const run = program.run(['watch', ...args]);
    assert.deepEqual([run.code, run.stdout], [code, '']);
    assert.match(run.stderr, message);
    assert.doesNotMatch(run.stderr, /internal error|\.mjs:\d+/);
  });
}

/** A daemon that reads its stream from the test, line by line. */
async function fed(t: TestContext) {
  const serving = await program.serve(t, ['replay', '-']);
  const feed = (...lines: string[]) => void serving.child.stdin?.write(`${lines.join('\n')}\n`);
  feed(...WATCH_STREAM);
  await serving.until(async () => (await seqs(serving.url)) > 0, 'the first events');
  return { serving, feed };
}
async function seqs(url: string) {
  return ((await (await fetch(`${url}/api/v1/events?limit=1`)).json()) as { newest: number }).newest;
}
async function clients(url: string) {
  const text = await (await fetch(`${url}/metrics`)).text();
  return /^vfio_dmabuf_stream_clients (\d+)$/m.exec(text)?.[1];
}

test('--json prints each event when it arrives, one per line, until it is stopped', async (t) => {
  const { serving, feed } = await fed(t);
  const json = program.start(t, ['watch', serving.url, '--json', '--device=41:00.0']);
  await serving.until(async () => (await clients(serving.url)) === '1', 'the stream to be read');
  feed(
    exported({ t: 60_000_000, inode: 100 }),
    exported({ t: 61_000_000, inode: 101, device: 0x4200 }),
    exported({ t: 62_000_000, inode: 102 }),
  );
  await serving.until(() => json.log.split('\n').length === 3, 'two events');
  const events = json.log
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    events.map(({ kind, inode }) => [kind, inode]),
    [
      ['export', 100],
      ['export', 102],
    ],
  );
  json.child.kill('SIGTERM');
  assert.equal(await json.ended, 0);
});

test('--json exits with 0 when its reader closes the pipe', async (t) => {
  const { serving, feed } = await fed(t);
  const command = `${process.execPath} ${program.path} watch ${serving.url} --json | head -n 1; echo "status $?"`;
  const pipe = spawn('sh', ['-c', command]);
  t.after(() => pipe.kill('SIGKILL'));
  let text = '';
  for (const stream of [pipe.stdout, pipe.stderr]) {
    stream.on('data', (chunk) => {
      text += chunk;
    });
  }
  const ended = new Promise((resolve) => pipe.once('close', resolve));
  await serving.until(async () => (await clients(serving.url)) === '1', 'the stream to be read');
  let inode = 200;
  const feeding = setInterval(() => feed(exported({ t: inode * 1_000_000, inode: inode++ })), 50);
  t.after(() => clearInterval(feeding));
  await ended;
  assert.match(text, /^\{"seq":.*"kind":"export".*\}\nstatus 0\n$/);
});

test('a daemon on a terminal ends with SIGHUP, which a closed terminal sends', async (t) => {
  const terminal = await Terminal.open(t, 120, 40);
  await terminal.until((text) => text.includes('$'), 'the shell');
  terminal.run(
    `${process.execPath} ${program.path} replay ${recording} --web.listen-address=127.0.0.1:0; echo ended with $?`,
  );
  await terminal.until((text) => text.includes('the end of the recording is reached'), 'the daemon');
  process.kill(terminal.foreground, 'SIGHUP');
  await terminal.until((text) => text.includes('ended with 129'), 'the end');
});
