import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { StreamTap } from '../src/stream-tap.ts';

const HEADER = JSON.stringify({ type: 'header', data: { format: 1, boot_epoch_us: 1 } });
function feed(tap: StreamTap): () => string {
  const server = new PassThrough();
  tap.feed(server);
  return () => String(server.read() ?? '');
}

test('a server gets all lines, earlier and later ones, in full', () => {
  const tap = new StreamTap();
  tap.take(Buffer.from('one\ntw'));
  const sent = feed(tap);
  tap.take(Buffer.from('o\nthree\nfo'));
  assert.equal(sent(), 'one\ntwo\nthree\n');
  assert.deepEqual(tap.lines, ['one', 'two', 'three']);
});

test('a character of several bytes that is cut between chunks stays intact', () => {
  const tap = new StreamTap();
  const bytes = Buffer.from('é\n');
  tap.take(bytes.subarray(0, 1));
  tap.take(bytes.subarray(1));
  assert.deepEqual(tap.lines, ['é']);
});

test('a saved guest continues in the middle of a line, with the current time', () => {
  const saved = new StreamTap();
  saved.take(Buffer.from(`${HEADER}\none\ntw`));
  for (const early of ['', 'o\nthr']) {
    const tap = new StreamTap();
    // The guest may have written before the saved text is read.
    tap.take(Buffer.from(early));
    tap.continue(saved.text, 5_000_000);
    tap.take(Buffer.from('o\nthree\n'.slice(early.length)));
    assert.deepEqual(tap.lines.slice(1), ['one', 'two', 'three'], `early: ${early}`);
    assert.ok(Math.abs(tap.bootEpochUs / 1000 - (Date.now() - 5000)) < 60_000, String(tap.bootEpochUs));
  }
});

test('the stream of a new collector starts without the lines of the previous one', () => {
  const tap = new StreamTap();
  tap.take(Buffer.from('one\ntw'));
  tap.clear();
  tap.take(Buffer.from('three\n'));
  assert.deepEqual(tap.lines, ['three']);
});
