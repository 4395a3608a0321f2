import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode } from 'fast-png';
import { withPalette } from '../png-palette.ts';

/** Converts a picture of these pixels, and decodes the result. */
function converted(width: number, channels: number, pixels: readonly (readonly number[])[]) {
  const data = Uint8Array.from(pixels.flat());
  return decode(withPalette(encode({ width, height: pixels.length / width, channels, data })));
}

test('up to 256 colors stay exact', () => {
  const [dark, light] = [
    [1, 2, 3],
    [200, 100, 50],
  ];
  const { palette, channels, data } = converted(2, 3, [dark, light, light, light]);
  assert.equal(channels, 1, 'a pixel is an index');
  assert.deepEqual(palette, [light, dark]);
  assert.deepEqual([...data], [1, 0, 0, 0]);
});

test('the opacity of a picture is dropped', () => {
  const { palette, data } = converted(2, 4, [
    [1, 2, 3, 255],
    [4, 5, 6, 255],
  ]);
  assert.deepEqual(palette, [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  assert.deepEqual([...data], [0, 1]);
});

test('of more than 256 colors the most common ones stay exact, and others are replaced by similar ones', () => {
  const common = [9, 9, 9];
  const others = Array.from({ length: 300 }, (_, index) => [Math.floor(index / 2), 128, index % 2]);
  const { palette = [], data } = converted(20, 3, [...Array(300).fill(common), ...others]);
  assert.equal(palette.length, 256);
  assert.deepEqual(palette[0], common);
  assert.ok(data.slice(0, 300).every((index) => index === 0));
  for (const [index, [red = 0, green, blue]] of others.slice(0, 255).entries())
    assert.deepEqual(palette[data[300 + index] ?? 0], [red, green, blue]);
  const last = palette[data[599] ?? 0];
  assert.deepEqual(last, [127, 128, 0], 'the nearest of the 255 that are kept');
});

test('a picture of one channel is an error', () => {
  const gray = encode({ width: 1, height: 1, channels: 1, data: Uint8Array.of(7) });
  assert.throws(() => withPalette(gray), /3 or 4 channels/);
});
