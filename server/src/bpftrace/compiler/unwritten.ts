/** A line that does something only if a map has a key: `if (@map[key]) { ... }`, without else. */
const IF_KEPT = /^ *if \((@\w+)\[[^\]]*\]\) \{[^{}]*\}(?: *\/\/.*)?$/;

/** The map whose key decides whether the line does something; undefined for other lines. */
export function deciding(line: string): string | undefined {
  return IF_KEPT.exec(line)?.[1];
}

/** The maps to which a text assigns. */
export function writtenMaps(text: string): ReadonlySet<string> {
  return new Set(Array.from(text.matchAll(/(@\w+)(?:\[[^\]]*\])? = /g), ([, map = '']) => map));
}

/**
 * Leaves out each line whose deciding map is not written: it would do nothing, and bpftrace rejects such a map. So a
 * probe may read what another one keeps, whether this host has that one or not. A line that is left out may be the only
 * one that writes another map, so this repeats.
 *
 * @param before the part of the program that is not a fragment
 */
export function withoutUnwritten(texts: readonly string[], before: string): readonly string[] {
  const written = writtenMaps([before, ...texts].join('\n'));
  const isKept = (line: string): boolean => {
    const map = deciding(line);
    return map === undefined || written.has(map);
  };
  const left = texts.map((text) => text.split('\n').filter(isKept).join('\n'));
  return left.every((text, index) => text === texts[index]) ? texts : withoutUnwritten(left, before);
}
