/**
 * Characters that a terminal interprets or hides: C0 and C1 controls with ESC and DEL, bidirectional and other format
 * characters, lone surrogates, private use, line and paragraph separators.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const UNSAFE_IN_LINES = /[^\P{Cc}\n\t]|[\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const UNSAFE_IN_JSON = /[^\P{Cc}\n]|[\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** Makes untrusted text safe for one line of a terminal: each unsafe character becomes U+FFFD. */
export function neutral(text: string): string {
  return text.replaceAll(UNSAFE, '\ufffd');
}

/** The same for text of several lines: line feeds and tabs are kept. */
export function neutralLines(text: string): string {
  return text.replaceAll(UNSAFE_IN_LINES, '\ufffd');
}

/** The same JSON with unsafe characters escaped. JSON.stringify() escapes only those below 0x20 and lone surrogates. */
export function neutralJson(json: string): string {
  return json.replaceAll(UNSAFE_IN_JSON, (character) =>
    Array.from({ length: character.length }, (_, unit) => {
      return `\\u${character.charCodeAt(unit).toString(16).padStart(4, '0')}`;
    }).join(''),
  );
}
