import { FifoMap } from '../lib/fifo-map.ts';
import type { StreamLine } from '../protocol/stream-line.ts';
import type { Child, HostSource, Loss } from '../protocol/wire.ts';
import { PastCounts } from './past-counts.ts';

/** The most processes, and the most devices, that are kept: as many as the collector tracks. */
const FACTS_LIMIT = 8192;
/** The most `changed` lines of one child that are kept. Each is a change of the loaded modules. */
const CHANGES_LIMIT = 64;

interface KnownProcess {
  raw: string;
  startTicks: number;
}

/** The lines that a reader needs that joins a stream late: those that are still true and are not printed again. */
export class StreamState {
  #header: string | null = null;
  #clock: string | null = null;
  /** The start of the running child and its later changes; or the line that says why none runs. */
  #children: string[] = [];
  readonly #pastCounts = new PastCounts();
  readonly #losses = new Map<Loss['stage'], string>();
  readonly #hostErrors = new Map<HostSource, string>();
  readonly #devices = new FifoMap<string, string>();
  readonly #processes = new FifoMap<number, KnownProcess>();

  /** The header line; null before it was observed. */
  get header(): string | null {
    return this.#header;
  }

  observe({ raw, record }: StreamLine): void {
    switch (record.type) {
      case 'header':
        this.#header = raw;
        this.#clock = null;
        return;
      case 'clock':
        this.#clock = raw;
        return;
      case 'child':
        this.#child(record.data, raw);
        return;
      case 'counter':
        this.#pastCounts.observe(raw, record.data);
        return;
      case 'loss':
        this.#losses.set(record.data.stage, raw);
        return;
      case 'host_error':
        this.#hostErrors.set(record.data.source, raw);
        return;
      case 'device':
        this.#devices.set(record.data.device, raw);
        this.#devices.limit(FACTS_LIMIT);
        return;
      case 'device_gone':
        this.#devices.delete(record.data.device);
        return;
      case 'process':
        this.#processes.set(record.data.pid, { raw, startTicks: record.data.start_ticks });
        this.#processes.limit(FACTS_LIMIT);
        return;
      case 'exit': {
        const { pid, start_ticks: startTicks } = record.data;
        // The pid may belong to another process already.
        const isAnother = startTicks !== undefined && this.#processes.get(pid)?.startTicks !== startTicks;
        if (!isAnother) this.#processes.delete(pid);
        return;
      }
      default:
    }
  }

  /** False if the counts of children that have ended are not complete. */
  get isComplete(): boolean {
    return this.#pastCounts.isComplete;
  }

  /** What a new reader needs after the header. The counts come before the child that is now running: they are not its. */
  ofNewReader(): string[] {
    return [...this.facts(), ...this.#pastCounts.lines(), ...this.#children];
  }

  /** What a reader needs that has missed lines. It has counts already, and they would be added to these. */
  afterGap(): string[] {
    return [...this.facts(), ...this.#children];
  }

  /**
   * The current state without the header and the lines of the child. A reader may get these lines again. They come
   * before those of the child, so that the losses before its start do not count as losses of its events.
   */
  facts(): string[] {
    return [
      ...(this.#clock === null ? [] : [this.#clock]),
      ...this.#losses.values(),
      ...this.#hostErrors.values(),
      ...this.#devices.values(),
      ...Array.from(this.#processes.values(), ({ raw }) => raw),
    ];
  }

  #child(child: Child, raw: string): void {
    if (child.state !== 'changed') {
      this.#pastCounts.childEnded();
      this.#children = [raw];
      return;
    }
    this.#children.push(raw);
    if (this.#children.length > CHANGES_LIMIT) this.#children.splice(1, 1);
  }
}
