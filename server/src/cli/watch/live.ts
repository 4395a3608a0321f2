import type { Clock } from '../../support/clock.ts';
import { TracerError } from '../../support/errors.ts';
import { pauseMs } from './follow.ts';
import { drawFrame, type FrameInput } from './frame.ts';
import type { Picture, Viewer } from './picture.ts';
import { Screen } from './screen.ts';
import { FIRST_VIEW, keysOf, press, type View } from './view.ts';

export interface LiveOptions {
  viewer: Viewer;
  url: string;
  vm: string | undefined;
  clock: Pick<Clock, 'wallMs' | 'sleep'>;
  signal: AbortSignal;
  stdout: NodeJS.WriteStream;
  stdin: NodeJS.ReadStream;
  color: boolean;
}

const LOOK_MS = 1000;
/** No more than four frames a second, however fast the keys come. */
const FRAME_MS = 250;
/** Ages grow, and a lost connection gets older, without anything that happens. */
const TICK_MS = 1000;

/** The clock by which ages are told: a recording is as old now as it was at its last word. */
export function nowOf(picture: Picture, wallMs: number): number {
  if (picture.status.source.kind !== 'replay') return wallMs;
  const words = [
    picture.status.last_counter_read,
    ...picture.buffers.map(({ changed_at }) => changed_at),
    ...picture.rejections.map(({ time }) => time),
  ].flatMap((time) => (time === null ? [] : [Date.parse(time)]));
  return words.length === 0 ? wallMs : words.reduce((latest, one) => Math.max(latest, one));
}

/** The live table, until the signal or a key ends it. Rejects only where the first look fails, or the daemon rejects what is asked. */
export async function watchLive(options: LiveOptions): Promise<void> {
  const first = await options.viewer.look(options.signal);
  const live = new Live(options, first);
  await live.run();
}

class Live {
  readonly #options: LiveOptions;
  readonly #screen: Screen;
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  #picture: Picture;
  #view: View = FIRST_VIEW;
  #lost: { sinceMs: number; why: string; nextMs: number } | undefined;
  #page = 1;
  #last = 0;
  #due: NodeJS.Timeout | undefined;
  #drawnMs = 0;

  constructor(options: LiveOptions, picture: Picture) {
    this.#options = options;
    this.#picture = picture;
    this.#screen = new Screen(options.stdout, options.color);
    this.#signal = AbortSignal.any([options.signal, this.#ended.signal]);
  }

  async run(): Promise<void> {
    const { stdin, stdout } = this.#options;
    const onKeys = (chunk: Buffer) => this.#take(chunk.toString('utf8'));
    const onResize = () => {
      this.#screen.forget();
      this.#draw();
    };
    const tick = setInterval(() => this.#soon(), TICK_MS);
    this.#screen.enter();
    try {
      stdout.on('resize', onResize);
      // Without keys (a redirected stdin) SIGINT still ends it.
      if (stdin.isTTY) stdin.setRawMode(true).on('data', onKeys).resume();
      this.#draw();
      await this.#look();
      const { reason } = this.#ended.signal;
      if (reason instanceof Error) throw reason;
    } finally {
      clearInterval(tick);
      clearTimeout(this.#due);
      stdout.off('resize', onResize);
      if (stdin.isTTY) stdin.off('data', onKeys).setRawMode(false).pause();
      this.#screen.leave();
    }
  }

  async #look(): Promise<void> {
    const { viewer, clock } = this.#options;
    for (let failed = 0; !this.#signal.aborted; ) {
      let pause = LOOK_MS;
      try {
        this.#picture = await viewer.look(this.#signal);
        this.#lost = undefined;
        failed = 0;
      } catch (error) {
        if (this.#signal.aborted) return;
        if (!(error instanceof TracerError) || error.code === 'bad_usage') throw error;
        viewer.forget();
        pause = pauseMs(failed++);
        const now = clock.wallMs();
        this.#lost = { sinceMs: this.#lost?.sinceMs ?? now, why: error.message, nextMs: now + pause };
      }
      this.#soon();
      await clock.sleep(pause, this.#signal);
    }
  }

  #take(chunk: string): void {
    for (const key of keysOf(chunk)) {
      const view = press(this.#view, key, this.#page, this.#last);
      if (view === null) {
        this.#ended.abort('quit');
        return;
      }
      this.#view = view;
    }
    this.#soon();
  }

  /** Draws now where the last frame is old enough, else when it is. */
  #soon(): void {
    if (this.#due !== undefined) return;
    const wait = Math.max(0, this.#drawnMs + FRAME_MS - performance.now());
    this.#due = setTimeout(() => this.#draw(), wait);
  }

  /** A failure ends the whole: it is told when the terminal is as it was. */
  #draw(): void {
    clearTimeout(this.#due);
    this.#due = undefined;
    this.#drawnMs = performance.now();
    try {
      this.#drawNow();
    } catch (error) {
      this.#ended.abort(error);
    }
  }

  #drawNow(): void {
    const { stdout, url, vm, clock } = this.#options;
    const wallMs = clock.wallMs();
    const lost = this.#lost && { ...this.#lost, againMs: this.#lost.nextMs - wallMs };
    const nowMs = nowOf(this.#picture, wallMs);
    const input: FrameInput = { url, picture: this.#picture, view: this.#view, vm, nowMs, wallMs, lost };
    const frame = drawFrame(input, stdout.columns || 80, stdout.rows || 24);
    this.#page = frame.page;
    this.#last = frame.last;
    this.#screen.show(frame.lines);
  }
}
