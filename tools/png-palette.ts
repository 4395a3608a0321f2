import { crc32, deflateSync, inflateSync } from 'node:zlib';

const COLORS = 256;

interface Picture {
  width: number;
  height: number;
  /** Bytes of one pixel: 3, or 4 with its opacity. */
  depth: number;
  rows: Buffer[];
}

/**
 * Converts a screenshot to a PNG with at most 256 colors, a quarter of the size. A page has few colors on surfaces,
 * and many at the edges of letters and lines. The 256 most common colors are kept, and each other color is replaced
 * by the nearest of them. Accepts what browsers write: 8 bits per channel, not interlaced.
 */
export function withPalette(png: Buffer): Buffer {
  const { width, height, depth, rows } = decode(png);
  const counts = new Map<number, number>();
  const colorAt = (row: Buffer, x: number): number => row.readUIntBE(x * depth, 3);
  for (const row of rows) {
    for (let x = 0; x < width; x += 1) {
      const color = colorAt(row, x);
      counts.set(color, (counts.get(color) ?? 0) + 1);
    }
  }
  const palette = [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, COLORS)
    .map(([color]) => color);
  const indexes = new Map(palette.map((color, index) => [color, index]));
  const lines = rows.map((row) => {
    const line = Buffer.alloc(width + 1);
    for (let x = 0; x < width; x += 1) {
      const color = colorAt(row, x);
      let index = indexes.get(color);
      if (index === undefined) {
        index = nearest(palette, color);
        indexes.set(color, index);
      }
      line[x + 1] = index;
    }
    return line;
  });
  const head = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 3, 0, 0, 0]);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  return Buffer.concat([
    png.subarray(0, 8),
    chunk('IHDR', head),
    chunk('PLTE', Buffer.from(palette.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]))),
    chunk('IDAT', deflateSync(Buffer.concat(lines), { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function nearest(palette: readonly number[], color: number): number {
  const distance = (other: number): number =>
    [16, 8, 0].reduce((sum, bits) => sum + (((color >> bits) & 255) - ((other >> bits) & 255)) ** 2, 0);
  let best = 0;
  for (const [index, other] of palette.entries())
    if (distance(other) < distance(palette[best] ?? 0)) best = index;
  return best;
}

/** Decodes a PNG to rows of pixels. @throws Error if it has another format than browsers write. */
export function decode(png: Buffer): Picture {
  const width = png.readUInt32BE(16);
  const height = png.readUInt32BE(20);
  const depth = png[25] === 6 ? 4 : 3;
  if (png[24] !== 8 || (png[25] !== 2 && png[25] !== 6) || png[28] !== 0)
    throw new Error('unsupported PNG: it must have 8 bits per channel and must not be interlaced');
  const packed: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT')
      packed.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const data = inflateSync(Buffer.concat(packed));
  const length = width * depth;
  const rows: Buffer[] = [];
  let above = Buffer.alloc(length);
  for (let y = 0; y < height; y += 1) {
    const filter = data[y * (length + 1)];
    const row = Buffer.from(data.subarray(y * (length + 1) + 1, (y + 1) * (length + 1)));
    for (let x = 0; x < length; x += 1) {
      const left = row[x - depth] ?? 0;
      row[x] = (row[x] ?? 0) + predicted(filter, left, above[x] ?? 0, above[x - depth] ?? 0);
    }
    rows.push(row);
    above = row;
  }
  return { width, height, depth, rows };
}

/** The byte that a PNG filter predicts from the bytes to the left, above, and above to the left. */
function predicted(filter: number | undefined, left: number, above: number, corner: number): number {
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter === 3) return (left + above) >> 1;
  if (filter !== 4) return 0;
  const guess = left + above - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(data.length);
  body.copy(whole, 4);
  whole.writeUInt32BE(crc32(body), body.length + 4);
  return whole;
}
