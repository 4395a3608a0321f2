import { FifoMap } from '../lib/fifo-map.ts';
import { isEmitted } from '../protocol/decode.ts';
import type { StreamLine } from '../protocol/stream-line.ts';
import type { CollectorLine } from '../protocol/wire.ts';

/** Dropped lines up to a line of a child, which is the last one. */
interface Segment {
  lines: string[];
  bytes: number;
  /** A child starts with its last line. */
  starts: boolean;
}

export interface MissedLinesOptions {
  /** The most bytes of lines that are kept. The lines of the last child are kept even beyond it. */
  limit: number;
  bootUs: () => number;
}

/**
 * What a reader has to know about the lines that were dropped for it. Of lines that replace each other, such as the
 * counts of a map, it keeps the last one before each start and end of a child. So the counts of a child that ended
 * meanwhile are not lost, and dropped events count as those of the right child.
 */
export class MissedLines {
  /** Lines that were dropped, and how many of them were events. */
  lines = 0;
  events = 0;
  /** Lines were evicted: the reader needs the whole state. */
  incomplete = false;
  readonly #options: MissedLinesOptions;
  readonly #segments: Segment[] = [];
  #segmentBytes = 0;
  /** The last line of each subject since the last line of a child. */
  #latest = new FifoMap<string, string>();
  #latestBytes = 0;
  #heartbeat: string | null = null;

  constructor(options: MissedLinesOptions) {
    this.#options = options;
  }

  add(line: StreamLine): void {
    const { raw, record } = line;
    this.lines += 1;
    if (isEmitted(record)) this.events += 1;
    else if (record.type === 'heartbeat') this.#heartbeat = raw;
    else if (record.type === 'child') this.#endSegment(raw, record.data.state === 'starting');
    else {
      const subject = subjectOf(line);
      if (subject !== null) this.#keep(subject, raw);
    }
  }

  /**
   * The lines that the reader needs instead of the dropped ones. Counts and heartbeat of the running child are left
   * out: they are printed again each second.
   */
  summary(): string[] {
    return [
      ...this.#segments.flatMap(({ lines }) => lines),
      ...Array.from(this.#latest.entries()).flatMap(([subject, raw]) => (isCount(subject) ? [] : [raw])),
      this.#loss(),
    ];
  }

  #keep(subject: string, raw: string): void {
    const { limit } = this.#options;
    this.#latestBytes += raw.length - (this.#latest.get(subject)?.length ?? 0);
    this.#latest.set(subject, raw);
    while (this.#latestBytes > limit) {
      const oldest = this.#latest.oldest();
      if (oldest === undefined) return;
      this.#latestBytes -= this.#latest.get(oldest)?.length ?? 0;
      this.#latest.delete(oldest);
      this.incomplete = true;
    }
  }

  #endSegment(child: string, starts: boolean): void {
    const beat = this.#heartbeat === null ? [] : [this.#heartbeat];
    // The loss comes before the heartbeat, which would count these events as lost in the kernel.
    const lines = [...this.#latest.values(), this.#loss(), ...beat, child];
    const bytes = lines.reduce((sum, line) => sum + line.length, 0);
    this.#segments.push({ lines, bytes, starts });
    this.#segmentBytes += bytes;
    this.#latest = new FifoMap();
    this.#latestBytes = 0;
    this.#heartbeat = null;
    this.#evict();
  }

  /**
   * Evicts whole children, the oldest of which the reader knows nothing first, so that no line is taken for one of
   * another child. The counts of these children are lost.
   */
  #evict(): void {
    while (this.#segmentBytes > this.#options.limit) {
      const next = this.#segments.findIndex(({ starts }, index) => index > 1 && starts);
      if (next < 0) return;
      for (const { bytes } of this.#segments.splice(1, next - 1)) this.#segmentBytes -= bytes;
      this.incomplete = true;
    }
  }

  /** The line that reports the events that were dropped so far. */
  #loss(): string {
    const t = this.#options.bootUs();
    const line: CollectorLine = { type: 'loss', data: { t, stage: 'relay', count: this.events } };
    return JSON.stringify(line);
  }
}

/** What the line is about, if the next line about the same replaces it; null if the reader does not need the line. */
function subjectOf({ record }: StreamLine): string | null {
  switch (record.type) {
    case 'counter':
      return `counter ${record.data.name} ${record.data.key}`;
    case 'process':
    case 'exit':
      return `process ${record.data.pid}`;
    case 'device':
    case 'device_gone':
      return `device ${record.data.device}`;
    case 'loss':
      return `loss ${record.data.stage}`;
    case 'host_error':
      return `host_error ${record.data.source}`;
    case 'helper_error':
      // The first one makes the counters lower bounds.
      return record.data.map_full ? 'map_full' : null;
    case 'clock':
    case 'ready':
      return record.type;
    default:
      return null;
  }
}

function isCount(subject: string): boolean {
  return subject.startsWith('counter ');
}
