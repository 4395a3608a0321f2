import { writeSync } from 'node:fs';
import { styled } from '../output.ts';
import type { Line, Style } from './frame.ts';

/** Other screen, no cursor, no wrapping: and all of it back. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
/** Terminals that know it show all between the two at once; the others leave it out. */
const BEGIN = '\x1b[?2026h';
const END = '\x1b[?2026l';

const COLORED: Readonly<Record<Style, string>> = {
  plain: '',
  bold: '1',
  dim: '2',
  good: '32',
  warning: '33',
  loud: '1;31',
};
const COLORLESS: Readonly<Record<Style, string>> = { ...COLORED, good: '', warning: '1', loud: '1;7' };

/** A terminal that is taken over, and given back as it was, whatever ends the program. */
export class Screen {
  readonly #stdout: NodeJS.WriteStream & { fd?: number };
  readonly #styles: Readonly<Record<Style, string>>;
  #shown = '';
  #entered = false;

  constructor(stdout: NodeJS.WriteStream, color: boolean) {
    this.#stdout = stdout;
    this.#styles = color ? COLORED : COLORLESS;
  }

  enter(): void {
    this.#entered = true;
    process.once('exit', this.leave);
    this.#stdout.write(ENTER);
  }

  /** One write for the whole frame, and none where it has not changed. */
  show(lines: readonly Line[]): void {
    const text = lines.map(({ text, style }) => styled([{ text, sgr: this.#styles[style] }])).join('\r\n');
    if (text === this.#shown) return;
    this.#shown = text;
    this.#stdout.write(`${BEGIN}\x1b[H${text}${END}`);
  }

  /** The next frame is written whatever it is: the terminal has another size, and may have lost the last. */
  forget(): void {
    this.#shown = '';
  }

  /** May be called twice. Written at once: a program that is ending waits for nothing. */
  readonly leave = (): void => {
    if (!this.#entered) return;
    this.#entered = false;
    process.off('exit', this.leave);
    try {
      writeSync(this.#stdout.fd ?? 1, LEAVE);
    } catch {
      // The terminal is gone, and needs nothing any more.
    }
  };
}
