import { decode, encode } from 'fast-png';

const COLORS = 256;

/**
 * Converts a screenshot to a PNG with at most 256 colors, a quarter of the size. A page has few colors on surfaces,
 * and many at the edges of letters and lines. The 256 most common colors are kept, and each other color is replaced
 * by the nearest of them. Accepts what browsers write: 8 bits per channel, with or without opacity.
 */
export function withPalette(png: Uint8Array): Uint8Array {
  const { width, height, channels, depth, data } = decode(png);
  if (depth !== 8 || channels < 3) throw new Error('unsupported PNG: it must have 3 or 4 channels of 8 bits');
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const colors = Array.from({ length: width * height }, (_, pixel) => bytes.readUIntBE(pixel * channels, 3));
  const counts = new Map<number, number>();
  for (const color of colors) counts.set(color, (counts.get(color) ?? 0) + 1);
  const palette = [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, COLORS)
    .map(([color]) => color);
  const indexes = new Map(palette.map((color, index) => [color, index]));
  for (const color of counts.keys()) {
    if (!indexes.has(color)) indexes.set(color, nearest(palette, color));
  }
  return encode(
    {
      width,
      height,
      depth: 8,
      channels: 1,
      data: Uint8Array.from(colors, (color) => indexes.get(color) ?? 0),
      palette: palette.map((color) => [color >> 16, (color >> 8) & 255, color & 255]),
    },
    { zlib: { level: 9 } },
  );
}

function nearest(palette: readonly number[], color: number): number {
  const distance = (other: number): number =>
    [16, 8, 0].reduce((sum, bits) => sum + (((color >> bits) & 255) - ((other >> bits) & 255)) ** 2, 0);
  let best = 0;
  for (const [index, other] of palette.entries())
    if (distance(other) < distance(palette[best] ?? 0)) best = index;
  return best;
}
