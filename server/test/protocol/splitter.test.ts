import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineSplitter } from '../../src/protocol/splitter.ts';

interface Split {
  lines: string[];
  dropped: string[];
  maxHeldBytes: number;
}

function split(chunks: Iterable<Buffer>, limit?: number): Split {
  const result: Split = { lines: [], dropped: [], maxHeldBytes: 0 };
  const splitter = new LineSplitter({
    onLine: (line) => result.lines.push(line),
    onDropped: (why) => result.dropped.push(why),
    ...(limit === undefined ? {} : { limit }),
  });
  for (const chunk of chunks) {
    splitter.push(chunk);
    result.maxHeldBytes = Math.max(result.maxHeldBytes, splitter.heldBytes);
  }
  splitter.end();
  return result;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

test('the splitter splits lines, skips blank ones and removes carriage returns', () => {
  const { lines, dropped } = split([Buffer.from('one\r\n\n\r\n  \ntwo\nthree\n')]);
  assert.deepEqual(lines, ['one', 'two', 'three']);
  assert.deepEqual(dropped, []);
});

test('a last line without a line feed is counted as truncated and not passed on', () => {
  assert.deepEqual(split([Buffer.from('one\n{"type"')]), {
    lines: ['one'],
    dropped: ['truncated_line'],
    maxHeldBytes: 7,
  });
});

test('a line above the limit is dropped completely, and the next line is passed on', () => {
  const { lines, dropped } = split([Buffer.from('12345678\n123456789\nnext\n')], 8);
  assert.deepEqual(lines, ['12345678', 'next']);
  assert.deepEqual(dropped, ['oversized_line']);
});

test('bytes that are not UTF-8 become U+FFFD', () => {
  assert.deepEqual(split([Buffer.from([0x61, 0xff, 0x62, 0x0a])]).lines, ['a\ufffdb']);
});

test('a character that is split over two chunks is joined', () => {
  const bytes = Buffer.from('é\n');
  assert.deepEqual(split([bytes.subarray(0, 1), bytes.subarray(1)]).lines, ['é']);
});

test('the splitter buffers no more than the limit of a line of 10 MB in small chunks', () => {
  const chunk = Buffer.alloc(64 * 1024, 0x61);
  const chunks = [...Array.from({ length: 160 }, () => chunk), Buffer.from('\nafter\n')];
  const limit = 256 * 1024;
  const { lines, dropped, maxHeldBytes } = split(chunks, limit);
  assert.deepEqual(lines, ['after']);
  assert.deepEqual(dropped, ['oversized_line']);
  assert.ok(maxHeldBytes <= limit, `buffered ${maxHeldBytes} bytes`);
});

test('an oversized line without an end is counted once', () => {
  assert.deepEqual(split([Buffer.alloc(20, 0x61)], 8).dropped, ['oversized_line']);
});

test('the lines do not depend on the chunks of the input', () => {
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
