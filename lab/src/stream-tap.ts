import type { Writable } from 'node:stream';

/** Collects the lines of the collector's stream from the guest, and passes them on to the server. */
export class StreamTap {
  readonly lines: string[] = [];
  #pending = '';
  #server: Writable | undefined;

  /** Adds bytes from the guest. latin1 keeps a multi-byte character of a name intact when a chunk ends inside it. */
  readonly take = (chunk: Buffer): void => {
    const lines = (this.#pending + chunk.toString('latin1')).split('\n');
    this.#pending = lines.pop() ?? '';
    for (const line of lines) this.#line(Buffer.from(line, 'latin1').toString());
  };

  #line(line: string): void {
    this.lines.push(line);
    this.#server?.write(`${line}\n`);
  }

  /** Sends the lines so far, and each later one, to a server. */
  feed(server: Writable): void {
    this.#server = server;
    for (const line of this.lines) server.write(`${line}\n`);
  }

  /** All text so far, including an incomplete last line; the input of `continue`. */
  get text(): string {
    return [...this.lines, this.#pending].join('\n');
  }

  /** Starts with the text of a saved guest. Its clock now shows `bootUs` microseconds since its boot. */
  continue(text: string, bootUs: number): void {
    const [first = '', ...others] = text.split('\n');
    const header = JSON.parse(first) as { data: { boot_epoch_us: number } };
    header.data.boot_epoch_us = Date.now() * 1000 - bootUs;
    // The first bytes that the guest wrote after it resumed complete the cut line.
    const since = this.lines.splice(0);
    const cut = others.pop() ?? '';
    this.lines.push(JSON.stringify(header), ...others);
    if (since.length > 0) since[0] = cut + since[0];
    else this.#pending = cut + this.#pending;
    this.lines.push(...since);
  }

  /** Discards the stream of a collector that has ended. */
  clear(): void {
    this.lines.length = 0;
    this.#pending = '';
    this.#server = undefined;
  }

  /** Wall clock time of the guest's boot in microseconds, from the header of the stream. */
  get bootEpochUs(): number {
    const header = JSON.parse(this.lines[0] ?? '{}') as { data?: { boot_epoch_us?: number } };
    return header.data?.boot_epoch_us ?? 0;
  }
}
