import type { Writable } from 'node:stream';

/** The collector's stream as it comes out of the guest: kept line by line, and passed on to the server. */
export class StreamTap {
  readonly lines: string[] = [];
  #pending = '';
  #server: Writable | undefined;

  /** Takes bytes of the guest. They are ASCII but for names, which a cut inside one does not concern: lines are cut at line feeds. */
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

  /** Everything so far, to go on from with `continue`. */
  get text(): string {
    return [...this.lines, this.#pending].join('\n');
  }

  /** Begins with the text of a saved guest, whose clock is now at `bootUs` microseconds since its boot. */
  continue(text: string, bootUs: number): void {
    const [first = '', ...others] = text.split('\n');
    const header = JSON.parse(first) as { data: { boot_epoch_us: number } };
    header.data.boot_epoch_us = Date.now() * 1000 - bootUs;
    // What the guest has written since it goes on ends the line that was cut.
    const since = this.lines.splice(0);
    const cut = others.pop() ?? '';
    this.lines.push(JSON.stringify(header), ...others);
    if (since.length > 0) since[0] = cut + since[0];
    else this.#pending = cut + this.#pending;
    this.lines.push(...since);
  }

  /** Forgets the stream of a collector that has ended. */
  clear(): void {
    this.lines.length = 0;
    this.#pending = '';
    this.#server = undefined;
  }

  /** Wall clock of the guest's boot, microseconds, as the header of the stream has it. */
  get bootEpochUs(): number {
    const header = JSON.parse(this.lines[0] ?? '{}') as { data?: { boot_epoch_us?: number } };
    return header.data?.boot_epoch_us ?? 0;
  }
}
