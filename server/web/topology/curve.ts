/** The ends of a line that is horizontal at both of them. */
export type Curve = readonly [x1: number, y1: number, x2: number, y2: number];

/** A point of the curve by de Casteljau's algorithm. `t`, `u` and `v` differ only for a part of the curve (its blossom). */
function blossom([x1, y1, x2, y2]: Curve, t: number, u: number, v: number): { x: number; y: number } {
  const middle = (x1 + x2) / 2;
  const interpolate = (a: number, b: number, c: number, d: number): number => {
    const mix = (from: number, to: number, share: number): number => from + (to - from) * share;
    return mix(mix(mix(a, b, t), mix(b, c, t), u), mix(mix(b, c, t), mix(c, d, t), u), v);
  };
  return { x: interpolate(x1, middle, middle, x2), y: interpolate(y1, y1, y2, y2) };
}
export function pointAt(curve: Curve, t: number): { x: number; y: number } {
  return blossom(curve, t, t, t);
}

/** The part of the curve between two parameters in 0 to 1, as an SVG path. */
export function part(curve: Curve, from: number, to: number): string {
  const points = [
    blossom(curve, from, from, from),
    blossom(curve, from, from, to),
    blossom(curve, from, to, to),
    blossom(curve, to, to, to),
  ].map(({ x, y }) => `${round(x)} ${round(y)}`);
  return `M${points[0]}C${points.slice(1).join(' ')}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
