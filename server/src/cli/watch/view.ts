/** What whoever watches has chosen. */
export interface View {
  filter: string;
  /** A filter is being typed. */
  typing: boolean;
  /** Rows of the table of buffers that are above its first line on the screen. */
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

/** The keys of a chunk of bytes as a terminal sends them, each whole. */
export function keysOf(chunk: string): string[] {
  return chunk.match(KEY) ?? [];
}

/** What a key makes of the view; null quits. `page` is how many rows are on the screen, `last` the furthest to scroll. */
export function press(view: View, key: string, page: number, last: number): View | null {
  if (key === '\x03') return null;
  if (view.typing) return typed(view, key);
  // Terminals send the same arrows in another spelling when they are in application mode.
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
      // What is no character (an arrow, a key with Ctrl) is not typed.
      return /^\p{Cc}/u.test(key) ? view : { ...view, filter: view.filter + key, scroll: 0 };
  }
}
