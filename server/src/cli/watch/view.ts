/** What the user has selected. */
export interface View {
  filter: string;
  /** The user is typing a filter. */
  typing: boolean;
  /** Number of buffer rows above the first visible one. */
  scroll: number;
  help: boolean;
}

export const FIRST_VIEW: View = { filter: '', typing: false, scroll: 0, help: false };

const ESC = '\x1b';
const KEY = new RegExp(`${ESC}\\[[0-9;]*[A-Za-z~]|${ESC}O[A-Za-z]|[^]`, 'gu');
const MOVES: Readonly<Record<string, (page: number) => number>> = {
  [`${ESC}[A`]: () => -1,
  [`${ESC}[B`]: () => 1,
  k: () => -1,
  j: () => 1,
  [`${ESC}[5~`]: (page) => -page,
  [`${ESC}[6~`]: (page) => page,
  [`${ESC}[H`]: () => Number.NEGATIVE_INFINITY,
  [`${ESC}[F`]: () => Number.POSITIVE_INFINITY,
};

/** Splits terminal input into keys. An escape sequence is one key. */
export function keysOf(chunk: string): string[] {
  return chunk.match(KEY) ?? [];
}

/** The view after a key; null quits. `page` is the number of visible rows, `last` the last scroll position. */
export function press(view: View, key: string, page: number, last: number): View | null {
  if (key === '\x03') return null;
  if (view.typing) return typed(view, key);
  // In application mode, terminals send arrows with ESC O in place of ESC [.
  const move = MOVES[key.startsWith(`${ESC}O`) ? `${ESC}[${key.slice(2)}` : key];
  if (move !== undefined) {
    return { ...view, scroll: Math.min(Math.max(0, last), Math.max(0, view.scroll + move(page))) };
  }
  switch (key) {
    case 'q':
      return null;
    case '/':
      return { ...view, typing: true, help: false };
    case '?':
      return { ...view, help: !view.help };
    case ESC:
      return view.help ? { ...view, help: false } : { ...view, filter: '', scroll: 0 };
    default:
      return view;
  }
}

function typed(view: View, key: string): View {
  switch (key) {
    case '\r':
    case '\n':
      return { ...view, typing: false };
    case ESC:
      return { ...view, typing: false, filter: '', scroll: 0 };
    case '\x7f':
    case '\b':
      return { ...view, filter: [...view.filter].slice(0, -1).join(''), scroll: 0 };
    case '\x15':
      return { ...view, filter: '', scroll: 0 };
    default:
      // Arrows and keys with Ctrl are not characters of the filter.
      return /^\p{Cc}/u.test(key) ? view : { ...view, filter: view.filter + key, scroll: 0 };
  }
}
