import stringWidth from 'string-width';

const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Cuts or pads a text to exactly this number of columns. An ellipsis marks a cut. */
export function fit(text: string, columns: number): string {
  const width = stringWidth(text);
  if (width <= columns) return text + ' '.repeat(columns - width);
  let cut = '';
  let used = 0;
  for (const { segment } of GRAPHEMES.segment(text)) {
    const wide = stringWidth(segment);
    if (used + wide > columns - 1) break;
    cut += segment;
    used += wide;
  }
  return columns < 1 ? '' : `${cut}…${' '.repeat(columns - 1 - used)}`;
}

/** Wraps a text between words. A word that is longer than the width is not split. Widths below 20 columns do not wrap. */
export function fold(text: string, width: number | undefined): string[] {
  if (width === undefined || width < 20) return [text];
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || stringWidth(last) + 1 + stringWidth(word) > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
