import { writeSync } from 'node:fs';
import { styled } from '../output.ts';
import type { Line, Style } from './frame.ts';

/** Switches to the alternate screen without cursor and wrapping; LEAVE undoes it. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
/** Synchronized output: a terminal that supports it shows the frame at once; others ignore it. */
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

/** Full-screen output. It restores the terminal at every exit of the process. */
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

  /** Writes the frame in one call. An unchanged frame is not written. */
  show(lines: readonly Line[]): void {
    const text = lines.map(({ text, style }) => styled([{ text, sgr: this.#styles[style] }])).join('\r\n');
    if (text === this.#shown) return;
    this.#shown = text;
    this.#stdout.write(`${BEGIN}\x1b[H${text}${END}`);
  }

  /** Makes show() write the next frame even if it is unchanged: a resized terminal may have lost the last one. */
  invalidate(): void {
    this.#shown = '';
  }

  /** Can be called twice. Writes synchronously, because an exiting process does not wait for asynchronous writes. */
  readonly leave = (): void => {
    if (!this.#entered) return;
    this.#entered = false;
    process.off('exit', this.leave);
    try {
      writeSync(this.#stdout.fd ?? 1, LEAVE);
    } catch {
      // The terminal is closed, so there is nothing to restore.
    }
  };
}
