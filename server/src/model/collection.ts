import type { Status } from '../contract/status.ts';
import type { Child, Dialect, Header, ProbeState } from '../protocol/wire.ts';
import { PROBES_LIMIT } from './accounting.ts';

/** What the stream reports about the collection: the kernel, the running program, and why none runs. */
export class Collection {
  kernel: string | null = null;
  simulation: string | null = null;
  bpftrace: string | null = null;
  dialect: Dialect = 'none';
  /** The probes of the last program. */
  probes: readonly ProbeState[] = [];
  problem: Status['problem'] = null;
  readonly #everAttached = new Set<string>();
  readonly #dialectsEver = new Set<Dialect>();
  #started: { generation: number; t: number } | null = null;

  header({ kernel, simulation }: Header): void {
    this.kernel = kernel;
    this.simulation = simulation ?? null;
  }

  /** Applies what a line says about the program. Returns true if a new child has started. */
  child(child: Child): boolean {
    switch (child.state) {
      case 'starting': {
        this.#program(child.dialect, child.probes);
        this.bpftrace = child.bpftrace;
        const { generation, t } = child;
        // A collector reports the running child again to a new listener.
        if (this.#started?.generation === generation && this.#started.t === t) return false;
        this.#started = { generation, t };
        return true;
      }
      case 'changed':
        this.#program(this.dialect, child.probes);
        return false;
      case 'exited': {
        const { reason, message, remedy = null } = child;
        const isIntended = reason === 'stopped' || reason === 'handed_over';
        this.problem = isIntended ? null : { reason, message, remedy };
        return false;
      }
      case 'unavailable': {
        const { reason, message, remedy } = child;
        this.#program(child.dialect, child.probes);
        this.problem = { reason, message, remedy };
        return false;
      }
      default:
        return child satisfies never;
    }
  }

  /** The program traces. */
  ready(): void {
    this.problem = null;
  }

  /** Whether this probe was attached in any program of this stream. Only then is a zero in its counters a real zero. */
  wasAttached(probe: string): boolean {
    return this.#everAttached.has(probe);
  }

  /** Whether a kernel traced since the start spoke one of these dialects. */
  hadDialect(dialects: readonly Dialect[]): boolean {
    return dialects.some((dialect) => this.#dialectsEver.has(dialect));
  }

  /** The names of the probes that are attached now. */
  attached(): Set<string> {
    return new Set(this.probes.flatMap(({ probe, attached }) => (attached ? [probe] : [])));
  }

  #program(dialect: Dialect, probes: readonly ProbeState[]): void {
    this.dialect = dialect;
    this.#dialectsEver.add(dialect);
    this.probes = probes;
    for (const { probe, attached } of probes) {
      if (attached && this.#everAttached.size < PROBES_LIMIT) this.#everAttached.add(probe);
    }
  }
}
