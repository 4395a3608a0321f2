import { Writable } from 'node:stream';
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';

/** A sink that accepts a write only while its gate is open, like a pipe whose reader is stopped. */
export class GatedSink extends Writable {
  text = '';
  #isOpen = true;
  #waiting: (() => void) | null = null;

  close(): void {
    this.#isOpen = false;
  }

  /** Accepts the write that waits, and all later ones. */
  open(): void {
    this.#isOpen = true;
    this.#pass();
  }

  /** Accepts the write that waits, but no other one. */
  step(): void {
    this.#pass();
  }

  /** The complete lines so far. */
  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#waiting = () => {
      this.text += chunk.toString('utf8');
      done();
    };
    if (this.#isOpen) this.#pass();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#waiting = null;
    done(error);
  }

  #pass(): void {
    const pass = this.#waiting;
    this.#waiting = null;
    pass?.();
  }
}

/** Lets the writes happen that wait for the next turns of the event loop. */
export async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await yieldToEventLoop();
}
