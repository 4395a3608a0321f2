import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32, deflateSync, inflateSync } from 'node:zlib';
import { decode, withPalette } from '../png-palette.ts';

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

/** A PNG with these filtered rows, 8 bits and three channels. */
function png(width: number, rows: number[][]): Buffer {
  const head = Buffer.from([0, 0, 0, width, 0, 0, 0, rows.length, 8, 2, 0, 0, 0]);
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(Buffer.from(rows.flat()))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

test('decode reverses every filter of PNG', () => {
  const { rows } = decode(
    png(2, [
      [0, 10, 20, 30, 40, 50, 60],
      [1, 10, 20, 30, 1, 1, 1],
      [2, 1, 2, 3, 4, 5, 250],
      [3, 1, 1, 1, 1, 1, 1],
      [4, 5, 5, 5, 5, 5, 5],
    ]),
  );
  assert.deepEqual(
    rows.map((row) => [...row]),
    [
      [10, 20, 30, 40, 50, 60],
      [10, 20, 30, 11, 21, 31],
      [11, 22, 33, 15, 26, 25],
      [6, 12, 17, 11, 20, 22],
      [11, 17, 22, 16, 25, 27],
    ],
  );
});

test('up to 256 colors stay exact, and more are replaced by similar ones', () => {
  const few = withPalette(
    png(2, [
      [0, 1, 2, 3, 200, 100, 50],
      [0, 200, 100, 50, 1, 2, 3],
    ]),
  );
  assert.equal(few[25], 3, 'the color type is indexed');
  const at = few.indexOf('PLTE');
  assert.deepEqual([...few.subarray(at + 4, at + 10)], [1, 2, 3, 200, 100, 50]);
  const data = few.indexOf('IDAT');
  const lines = inflateSync(few.subarray(data + 4, data + 4 + few.readUInt32BE(data - 4)));
  assert.deepEqual([...lines], [0, 0, 1, 0, 1, 0]);
  // With 300 colors, the most frequent one stays exact.
  const many = Array.from({ length: 30 }, (_, y) => [
    0,
    ...Array.from({ length: 20 }, (_, x) => (x % 2 === 0 ? [9, 9, 9] : [y * 8, x * 12, 128])).flat(),
  ]);
  const folded = withPalette(png(20, many));
  const palette = folded.indexOf('PLTE');
  assert.equal(folded.readUInt32BE(palette - 4), 3 * 256);
  assert.deepEqual([...folded.subarray(palette + 4, palette + 7)], [9, 9, 9]);
});
