/** Ends of a line that leaves and arrives level. */
export type Curve = readonly [x1: number, y1: number, x2: number, y2: number];

/** A point of the curve, by the three steps of de Casteljau; `t`, `u` and `v` are equal but where a part is cut out. */
function blossom([x1, y1, x2, y2]: Curve, t: number, u: number, v: number): { x: number; y: number } {
  const middle = (x1 + x2) / 2;
  const reckon = (a: number, b: number, c: number, d: number): number => {
    const mix = (from: number, to: number, share: number): number => from + (to - from) * share;
    return mix(mix(mix(a, b, t), mix(b, c, t), u), mix(mix(b, c, t), mix(c, d, t), u), v);
  };
  return { x: reckon(x1, middle, middle, x2), y: reckon(y1, y1, y2, y2) };
}
export const pointAt = (curve: Curve, t: number): { x: number; y: number } => blossom(curve, t, t, t);

/** The part of the curve between two shares of it, as a path. */
export function part(curve: Curve, from: number, to: number): string {
  const words = [
    blossom(curve, from, from, from),
    blossom(curve, from, from, to),
    blossom(curve, from, to, to),
    blossom(curve, to, to, to),
  ].map(({ x, y }) => `${round(x)} ${round(y)}`);
  return `M${words[0]}C${words.slice(1).join(' ')}`;
}

const round = (value: number): number => Math.round(value * 10) / 10;
