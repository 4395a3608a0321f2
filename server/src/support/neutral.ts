/**
 * What a terminal would obey or hide: C0 and C1 controls with ESC and DEL, bidirectional and other format characters, lone surrogates,
 * private use, line and paragraph separators.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const UNSAFE_IN_LINES = /[^\P{Cc}\n\t]|[\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const UNSAFE_IN_JSON = /[^\P{Cc}\n]|[\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** One line of a text of others: each character that a terminal would obey is shown as a replacement character. */
export function neutral(text: string): string {
  return text.replaceAll(UNSAFE, '\ufffd');
}

/** The same for a text of several lines, whose line feeds and tabs stay. */
export function neutralLines(text: string): string {
  return text.replaceAll(UNSAFE_IN_LINES, '\ufffd');
}

/** The same JSON, with escapes in place of such characters: JSON itself escapes only what is below 0x20. */
export function neutralJson(json: string): string {
  return json.replaceAll(UNSAFE_IN_JSON, (character) =>
    Array.from({ length: character.length }, (_, unit) => {
      return `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`;
    }).join(''),
  );
}
