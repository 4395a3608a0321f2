import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineSplitter } from '../../src/stream/splitter.ts';

interface Split {
  lines: string[];
  dropped: string[];
  mostHeld: number;
}

function split(chunks: Iterable<Buffer>, limit?: number): Split {
  const result: Split = { lines: [], dropped: [], mostHeld: 0 };
  const splitter = new LineSplitter({
    onLine: (line) => result.lines.push(line),
    onDropped: (why) => result.dropped.push(why),
    ...(limit === undefined ? {} : { limit }),
  });
  for (const chunk of chunks) {
    splitter.push(chunk);
    result.mostHeld = Math.max(result.mostHeld, splitter.heldBytes);
  }
  splitter.end();
  return result;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

test('cuts lines, skips blank ones and takes a carriage return off', () => {
  const { lines, dropped } = split([Buffer.from('one\r\n\n\r\n  \ntwo\nthree\n')]);
  assert.deepEqual(lines, ['one', 'two', 'three']);
  assert.deepEqual(dropped, []);
});

test('counts a last line without a line feed as truncated and does not hand it on', () => {
  assert.deepEqual(split([Buffer.from('one\n{"type"')]), {
    lines: ['one'],
    dropped: ['truncated_line'],
    mostHeld: 7,
  });
});

test('drops a line beyond the limit whole and goes on with the next', () => {
  const { lines, dropped } = split([Buffer.from('12345678\n123456789\nnext\n')], 8);
  assert.deepEqual(lines, ['12345678', 'next']);
  assert.deepEqual(dropped, ['oversized_line']);
});

test('tolerates bytes that are no UTF-8', () => {
  assert.deepEqual(split([Buffer.from([0x61, 0xff, 0x62, 0x0a])]).lines, ['a\ufffdb']);
});

test('joins a character that two chunks share', () => {
  const bytes = Buffer.from('é\n');
  assert.deepEqual(split([bytes.subarray(0, 1), bytes.subarray(1)]).lines, ['é']);
});

test('a line of 10 MB in small chunks holds no more than the limit', () => {
  const chunk = Buffer.alloc(64 * 1024, 0x61);
  const chunks = [...Array.from({ length: 160 }, () => chunk), Buffer.from('\nafter\n')];
  const limit = 256 * 1024;
  const { lines, dropped, mostHeld } = split(chunks, limit);
  assert.deepEqual(lines, ['after']);
  assert.deepEqual(dropped, ['oversized_line']);
  assert.ok(mostHeld <= limit, `held ${mostHeld}`);
});

test('an oversized line without an end is counted once', () => {
  assert.deepEqual(split([Buffer.alloc(20, 0x61)], 8).dropped, ['oversized_line']);
});

test('gives the same lines however the bytes are chunked', () => {
  const piece = fc.oneof(
    fc.constantFrom('\n', '\r\n', '\r', 'é', '', '{"a": 1}', 'x'.repeat(12)),
    fc.uint8Array({ maxLength: 6 }),
  );
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat(200)), (pieces, places) => {
      const bytes = Buffer.concat(pieces.map((part) => Buffer.from(part as string)));
      const whole = split([bytes], 10);
      const chunked = split(cut(bytes, places), 10);
      const bytewise = split(
        Array.from(bytes, (byte) => Buffer.from([byte])),
        10,
      );
      for (const other of [chunked, bytewise]) {
        assert.deepEqual(other.lines, whole.lines);
        assert.deepEqual(other.dropped, whole.dropped);
      }
    }),
  );
});
