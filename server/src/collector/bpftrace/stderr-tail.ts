const LIMIT = 4096;

/** Warnings of bpftrace that say nothing of what went wrong. */
const NOISE = [/couldn't set RLIMIT_MEMLOCK/, /does not support loading an iterator program against it/];

/** Kernel addresses, alone or as `0x...`: 64-bit numbers in the upper half. */
const ADDRESS = /\b(?:0x)?[89a-f][0-9a-f]{15}\b/gi;

/** Keeps the beginning and the end of what a child wrote to stderr: the first error, and the last words. */
export class StderrTail {
  private head = '';
  private tail = '';
  private cut = false;

  push(chunk: Buffer): void {
    let text = chunk.toString('latin1');
    const room = LIMIT - this.head.length;
    this.head += text.slice(0, room);
    text = text.slice(room);
    if (text === '') return;
    const tail = this.tail + text;
    this.cut ||= tail.length > LIMIT;
    this.tail = tail.slice(-LIMIT);
  }

  /** What was kept, without noise and with kernel addresses taken out. */
  text(): string {
    const bytes = Buffer.from(this.head + (this.cut ? '\n[...]\n' : '') + this.tail, 'latin1');
    return bytes
      .toString('utf8')
      .split('\n')
      .filter((line) => !NOISE.some((pattern) => pattern.test(line)))
      .join('\n')
      .replace(ADDRESS, '[address]')
      .trim();
  }
}
