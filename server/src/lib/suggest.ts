/** The known word that was most likely meant; undefined if none is similar enough. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  // In a word of up to four letters, two changes make another word.
  let bestDistance = Math.max(word.length < 5 ? 1 : 2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    // The distance is at least the difference in length. Skips the expensive comparison of a very long word.
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance && distance < candidate.length) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Minimum number of insertions, deletions, replacements and swaps of neighbors that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  const cell = new Array<number>((a.length + 1) * width).fill(0);
  const at = (row: number, column: number): number => cell[row * width + column] ?? 0;
  for (let row = 0; row <= a.length; row++) {
    for (let column = 0; column <= b.length; column++) {
      let value = row === 0 ? column : row;
      if (row > 0 && column > 0) {
        const same = a[row - 1] === b[column - 1];
        value = Math.min(
          at(row - 1, column) + 1,
          at(row, column - 1) + 1,
          at(row - 1, column - 1) + (same ? 0 : 1),
        );
        const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
        if (swapped) value = Math.min(value, at(row - 2, column - 2) + 1);
      }
      cell[row * width + column] = value;
    }
  }
  return at(a.length, b.length);
}

/** `did you mean X?` if a known word is similar; else `otherwise`, or all known words. */
export function didYouMean(
  word: string,
  known: readonly string[],
  otherwise = `known: ${known.join(', ')}`,
): string {
  const guess = nearest(word, known);
  return guess === undefined ? otherwise : `did you mean ${guess}?`;
}
