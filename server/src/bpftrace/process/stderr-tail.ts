import { maskAddresses } from '../../protocol/mask.ts';

const LIMIT = 4096;

/** bpftrace prints these warnings also when it works. */
const NOISE = [/couldn't set RLIMIT_MEMLOCK/, /does not support loading an iterator program against it/];

/** Match the rest of a kernel address that the limit has cut. */
const CUT_AT_END = /(?:0x)?[0-9a-f]{4,}$/i;
const CUT_AT_START = /^(?:0x)?[0-9a-f]{4,}/i;

/** Keeps the beginning and the end of a child's stderr, up to 4096 bytes each: the first and the last errors. */
export class StderrTail {
  #head = '';
  #tail = '';
  #cut = false;

  push(chunk: Buffer): void {
    let text = chunk.toString('latin1');
    const room = LIMIT - this.#head.length;
    this.#head += text.slice(0, room);
    text = text.slice(room);
    if (text === '') return;
    const tail = this.#tail + text;
    this.#cut ||= tail.length > LIMIT;
    this.#tail = tail.slice(-LIMIT);
  }

  /** The kept text, without noise and with kernel addresses masked. */
  text(): string {
    const kept = this.#cut
      ? `${this.#head.replace(CUT_AT_END, '')}\n[...]\n${this.#tail.replace(CUT_AT_START, '')}`
      : this.#head + this.#tail;
    const lines = Buffer.from(kept, 'latin1')
      .toString('utf8')
      .split('\n')
      .filter((line) => !NOISE.some((pattern) => pattern.test(line)));
    return maskAddresses(lines.join('\n')).trim();
  }
}
