import { BackOff } from '../../lib/back-off.ts';
import type { Clock } from '../../lib/clock.ts';
import { TracerError } from '../../lib/errors.ts';
import type { DaemonState, Viewer } from './daemon-state.ts';
import { RETRY } from './follow.ts';
import { drawFrame, type FrameInput } from './frame.ts';
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

const READ_MS = 1000;
/** At most four frames a second, also while keys arrive faster. */
const FRAME_MS = 250;
/** Redraws ages and the time since a lost connection, even if nothing else changes. */
const TICK_MS = 1000;

/** The time from which ages are computed: the wall clock, or for a recording its last time. */
export function nowOf(daemon: DaemonState, wallMs: number): number {
  if (daemon.status.source.kind !== 'replay') return wallMs;
  const times = [
    daemon.status.last_counter_read,
    ...daemon.buffers.map(({ changed_at }) => changed_at),
    ...daemon.rejections.map(({ time }) => time),
  ].flatMap((time) => (time === null ? [] : [Date.parse(time)]));
  return times.length === 0 ? wallMs : times.reduce((latest, one) => Math.max(latest, one));
}

/**
 * Shows the live table until the signal or a key ends it.
 *
 * @throws TracerError if the first read fails, or if the daemon rejects a request as invalid
 */
export async function watchLive(options: LiveOptions): Promise<void> {
  const first = await options.viewer.read(options.signal);
  const live = new Live(options, first);
  await live.run();
}

class Live {
  readonly #options: LiveOptions;
  readonly #screen: Screen;
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  #daemon: DaemonState;
  #view: View = FIRST_VIEW;
  #lost: { sinceMs: number; why: string; nextMs: number } | undefined;
  #page = 1;
  #last = 0;
  #due: NodeJS.Timeout | undefined;
  #drawnMs = 0;

  constructor(options: LiveOptions, daemon: DaemonState) {
    this.#options = options;
    this.#daemon = daemon;
    this.#screen = new Screen(options.stdout, options.color);
    this.#signal = AbortSignal.any([options.signal, this.#ended.signal]);
  }

  async run(): Promise<void> {
    const { stdin, stdout } = this.#options;
    const onKeys = (chunk: Buffer) => this.#press(chunk.toString('utf8'));
    const onResize = () => {
      this.#screen.invalidate();
      this.#draw();
    };
    const tick = setInterval(() => this.#drawSoon(), TICK_MS);
    this.#screen.enter();
    try {
      stdout.on('resize', onResize);
      // If stdin is redirected there are no keys, and SIGINT ends the program.
      if (stdin.isTTY) stdin.setRawMode(true).on('data', onKeys).resume();
      this.#draw();
      await this.#readUntilEnd();
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

  async #readUntilEnd(): Promise<void> {
    const { viewer, clock } = this.#options;
    const backOff = new BackOff(RETRY);
    while (!this.#signal.aborted) {
      let pause = READ_MS;
      try {
        this.#daemon = await viewer.read(this.#signal);
        this.#lost = undefined;
        backOff.reset();
      } catch (error) {
        if (this.#signal.aborted) return;
        if (!(error instanceof TracerError) || error.code === 'bad_usage') throw error;
        viewer.reset();
        pause = backOff.next();
        const now = clock.wallMs();
        this.#lost = { sinceMs: this.#lost?.sinceMs ?? now, why: error.message, nextMs: now + pause };
      }
      this.#drawSoon();
      await clock.sleep(pause, this.#signal);
    }
  }

  #press(chunk: string): void {
    for (const key of keysOf(chunk)) {
      const view = press(this.#view, key, this.#page, this.#last);
      if (view === null) {
        this.#ended.abort('quit');
        return;
      }
      this.#view = view;
    }
    this.#drawSoon();
  }

  /** Draws at the next frame time, at least FRAME_MS after the last frame. */
  #drawSoon(): void {
    if (this.#due !== undefined) return;
    const wait = Math.max(0, this.#drawnMs + FRAME_MS - performance.now());
    this.#due = setTimeout(() => this.#draw(), wait);
  }

  /** A failure ends the program. The error is printed after the terminal is restored. */
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
    const nowMs = nowOf(this.#daemon, wallMs);
    const input: FrameInput = { url, daemon: this.#daemon, view: this.#view, vm, nowMs, wallMs, lost };
    const frame = drawFrame(input, stdout.columns || 80, stdout.rows || 24);
    this.#page = frame.page;
    this.#last = frame.last;
    this.#screen.show(frame.lines);
  }
}
