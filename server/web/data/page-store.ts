import { type ReadonlySignal, type Signal, signal } from '@preact/signals';
import { type PageView, parseView, viewHash } from './page-view.ts';
import type {
  Buffers,
  History,
  Incidents,
  Reason,
  Rejections,
  Status,
  Topology,
  TracerEvent,
} from './types.ts';

/** Events that the page keeps: the default of the server's `events.keep`. */
export const EVENTS_KEPT = 10_000;

/** The state of the connection to the server. */
export type Link =
  | { state: 'connecting' }
  | { state: 'live'; back: { from: number; to: number } | null }
  | { state: 'lost'; since: number };

/** All state that the page shows. A component is rendered again only when a signal that it reads changes. */
export class PageStore {
  readonly link: Signal<Link> = signal({ state: 'connecting' });
  readonly status: Signal<Status | null> = signal(null);
  readonly buffers: Signal<Buffers> = signal({ total: 0, buffers: [] });
  readonly topology: Signal<Topology> = signal({
    total: 0,
    nodes: [],
    edges: [],
    idle_devices: [],
  });
  readonly incidents: Signal<Incidents | null> = signal(null);
  readonly rejections: Signal<Rejections | null> = signal(null);
  readonly history: Signal<History['samples']> = signal([]);
  readonly reasons: Signal<ReadonlyMap<string, Reason | 'unknown'>> = signal(new Map());
  /** The newest last. */
  readonly events: Signal<readonly TracerEvent[]> = signal([]);
  /** Events that the server evicted from its log before this page read them. */
  readonly dropped: Signal<number> = signal(0);
  /** The time of the stream. A live stream advances it every few seconds. */
  readonly now: Signal<number> = signal(0);
  readonly narrow: Signal<boolean> = signal(false);
  readonly #view: Signal<PageView>;
  readonly #window: Window;

  constructor(window: Window) {
    this.#window = window;
    this.#view = signal(parseView(window.location.hash));
  }

  get view(): ReadonlySignal<PageView> {
    return this.#view;
  }

  /** Counts of rejected imports and exports since the start. */
  get rejectionCounts() {
    const counts = this.rejections.value?.counts;
    return [...(counts?.imports ?? []), ...(counts?.exports ?? [])];
  }

  /** Follows the address and the width of the window. */
  start(): void {
    this.#window.addEventListener('hashchange', () => {
      this.#view.value = parseView(this.#window.location.hash);
    });
    const query = this.#window.matchMedia('(max-width: 760px)');
    const follow = (): void => {
      this.narrow.value = query.matches;
    };
    query.addEventListener('change', follow);
    follow();
  }

  /** Changes the view. Opening something adds an entry to the browser's history; a filter does not. */
  show(change: Partial<PageView>): void {
    const view = { ...this.#view.peek(), ...change };
    const hash = viewHash(view);
    const opens = change.buffer != null || change.reason != null;
    const url = hash === '' ? this.#window.location.pathname : `#${hash}`;
    if (opens) this.#window.history.pushState(null, '', url);
    else this.#window.history.replaceState(null, '', url);
    this.#view.value = view;
  }

  append(events: readonly TracerEvent[]): void {
    if (events.length > 0) this.events.value = [...this.events.peek(), ...events].slice(-EVENTS_KEPT);
  }

  /** Adds older events, which arrive after the newest ones. */
  prepend(events: readonly TracerEvent[]): void {
    if (events.length > 0) this.events.value = [...events, ...this.events.peek()].slice(-EVENTS_KEPT);
  }
}
