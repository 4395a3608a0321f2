/** A line that does something only if a map has a key: `if (@map[key]) { ... }` or `if (@map[key].0) { ... }`, without else. */
const IF_KEPT = /^ *if \((@\w+)\[[^\]]*\](?:\.\d+)?\) \{[^{}]*\}(?: *\/\/.*)?$/;

/**
 * The map without which the line does nothing; undefined for other lines. If no kept line writes the map, the line is
 * left out: bpftrace rejects a map that is read and never written. So a probe may read what another one keeps, whether
 * this host has that one or not.
 */
export function decidingMap(line: string): string | undefined {
  return IF_KEPT.exec(line)?.[1];
}

const WRITE = /(@\w+)(?:\[[^\]]*\])?\s*(?:[-+|&]?=(?!=)|\+\+)/g;

/** The maps to which a text assigns. */
export function writtenMaps(text: string): ReadonlySet<string> {
  return new Set(Array.from(text.matchAll(WRITE), ([, map = '']) => map));
}
