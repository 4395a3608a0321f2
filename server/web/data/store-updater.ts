import { createParser } from 'eventsource-parser';
import { ask } from './api.ts';
import { EVENTS_KEPT, type PageStore } from './page-store.ts';
import type { Status, TracerEvent } from './types.ts';

const PAGE = 1000;
/** The server sends at least a comment every 15 s, so a connection that is silent for this long is broken. */
const SILENCE_MS = 45_000;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000, 15_000] as const;
/** How long the page shows that the connection is back. */
const BACK_MS = 20_000;
const STATE_MS = 1000;
const FLUSH_MS = 200;
const POLL_MS = 5000;
const HISTORY_MS = 10_000;

/** The server was restarted: seqs and inodes from before do not belong to this log. */
class OtherLog extends Error {}

/**
 * Keeps the store up to date. It loads the state once, and then follows the event stream. After events it reloads the
 * state, at most once a second and only while the page is visible. No event is shown twice or skipped: the stream resumes
 * after the last event that was read.
 */
export class StoreUpdater {
  readonly #store: PageStore;
  #log = '';
  #cursor = 0;
  #pending: TracerEvent[] = [];
  #flushing = false;
  #stale = false;
  #refreshing = false;
  #refreshedAt = 0;
  #nextRefreshMs = STATE_MS;
  #historyAt = 0;

  constructor(store: PageStore) {
    this.#store = store;
  }

  start(): void {
    document.addEventListener('visibilitychange', () => this.#refreshSoon());
    setInterval(() => this.#poll(), POLL_MS);
    void this.#run();
  }

  async #run(): Promise<void> {
    const { link } = this.#store;
    for (let failures = 0; ; failures += 1) {
      try {
        if (this.#log === '') await this.#begin();
        await this.#stream(() => {
          failures = 0;
        });
      } catch (error) {
        if (error instanceof OtherLog) {
          this.#log = '';
          continue;
        }
      }
      if (link.peek().state !== 'lost') link.value = { state: 'lost', since: Date.now() };
      const pause = BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] ?? 0;
      // Many pages of one server must not reconnect at the same moment.
      await new Promise((resolve) => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
    }
  }

  /** Loads the newest events and the state, and then older events page by page. */
  async #begin(): Promise<void> {
    const store = this.#store;
    const { log, newest, oldest } = await ask('events', { limit: 1 });
    const last = newest - PAGE;
    const { events, next } = await ask('events', { after: Math.max(0, last), limit: PAGE, log });
    this.#log = log;
    this.#cursor = next;
    this.#pending = [];
    this.#historyAt = 0;
    store.dropped.value = 0;
    store.events.value = events;
    await this.#refresh();
    void this.#older(log, last, Math.max(oldest - 1, newest - EVENTS_KEPT)).catch(() => {});
  }

  async #older(log: string, until: number, oldest: number): Promise<void> {
    for (let end = until; end > oldest && this.#log === log; end -= PAGE) {
      const after = Math.max(oldest, end - PAGE);
      const { events } = await ask('events', { after, limit: end - after, log });
      if (this.#log === log) this.#store.prepend(events);
    }
  }

  async #stream(connected: () => void): Promise<void> {
    const abort = new AbortController();
    let alarm = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const answer = await fetch('api/v1/stream', {
        headers: { 'last-event-id': `${this.#log}.${this.#cursor}` },
        signal: abort.signal,
      });
      if (!answer.ok || answer.body === null) throw new Error(`stream: ${answer.status}`);
      connected();
      this.#connected();
      const parser = createParser({ onEvent: ({ event = '', data }) => this.#take(event, data) });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(alarm);
        alarm = setTimeout(() => abort.abort(), SILENCE_MS);
        parser.feed(value);
      }
    } finally {
      clearTimeout(alarm);
      abort.abort();
    }
  }

  #connected(): void {
    const { link } = this.#store;
    const before = link.peek();
    if (before.state === 'live') return;
    const back = before.state === 'lost' ? { from: before.since, to: Date.now() } : null;
    link.value = { state: 'live', back };
    if (back === null) return;
    this.#refreshSoon();
    setTimeout(() => {
      const now = link.peek();
      if (now.state === 'live' && now.back === back) link.value = { state: 'live', back: null };
    }, BACK_MS);
  }

  #take(event: string, data: string): void {
    if (event === 'reset') throw new OtherLog();
    const parsed: unknown = JSON.parse(data);
    if (event === 'dropped') {
      this.#store.dropped.value += (parsed as { count: number }).count;
      return;
    }
    const one = parsed as TracerEvent;
    if (one.seq <= this.#cursor) return;
    this.#cursor = one.seq;
    this.#pending.push(one);
    if (this.#flushing) return;
    this.#flushing = true;
    setTimeout(() => {
      this.#flushing = false;
      this.#store.append(this.#pending);
      this.#pending = [];
      this.#refreshSoon();
    }, FLUSH_MS);
  }

  /** Reloads the state, at once or when the minimum interval since the last answer has passed. */
  #refreshSoon(): void {
    this.#stale = true;
    if (document.hidden || this.#refreshing) return;
    this.#refreshing = true;
    const wait = Math.max(0, this.#refreshedAt + this.#nextRefreshMs - Date.now());
    setTimeout(() => {
      this.#refresh()
        .catch(() => {})
        .finally(() => {
          this.#refreshing = false;
          if (this.#stale) this.#refreshSoon();
        });
    }, wait);
  }

  async #refresh(): Promise<void> {
    this.#stale = false;
    const store = this.#store;
    const began = Date.now();
    const showsReleased = store.view.peek().state === 'released';
    const [status, live, revoked, released, topology, incidents, rejections] = await Promise.all([
      ask('status'),
      ask('buffers', { state: 'live', limit: 10_000 }),
      ask('buffers', { state: 'revoked', limit: 10_000 }),
      showsReleased ? ask('buffers', { state: 'released', limit: 10_000 }) : undefined,
      ask('topology', { limit: 10_000 }),
      ask('incidents', { limit: 10_000 }),
      ask('rejections', { limit: 1 }),
    ]);
    const all = [live, revoked, ...(released === undefined ? [] : [released])];
    this.#takeStatus(status);
    const history = this.#refreshHistory();
    store.buffers.value = {
      total: all.reduce((sum, { total }) => sum + total, 0),
      buffers: all.flatMap(({ buffers }) => buffers),
    };
    store.topology.value = topology;
    store.incidents.value = incidents;
    store.rejections.value = rejections;
    await history;
    this.#refreshedAt = Date.now();
    // Limits the load of a host with thousands of buffers: requests take a fifth of the time at most.
    this.#nextRefreshMs = Math.max(STATE_MS, 4 * (this.#refreshedAt - began));
  }

  async #refreshHistory(): Promise<void> {
    if (Date.now() - this.#historyAt < HISTORY_MS) return;
    this.#historyAt = Date.now();
    this.#store.history.value = (await ask('history')).samples;
  }

  #takeStatus(status: Status): void {
    const before = this.#store.status.peek();
    // The history may be outdated, for example because a recording was read to its end meanwhile.
    if (before?.state !== status.state || before.not_ready !== status.not_ready) this.#historyAt = 0;
    this.#store.status.value = status;
    this.#store.now.value = Date.parse(status.now);
  }

  /** Polls what no event reports: counter reads, the end of a child, and the time. */
  #poll(): void {
    const before = this.#store.status.peek();
    if (document.hidden || before === null || this.#store.link.peek().state !== 'live') return;
    const { source, not_ready } = before;
    if (source.kind === 'replay' && not_ready === null) return;
    ask('status')
      .then((status) => {
        this.#takeStatus(status);
        if (status.state !== before.state || status.not_ready !== before.not_ready) this.#refreshSoon();
        return this.#refreshHistory();
      })
      .catch(() => {});
  }

  /** The new filter needs data that was not loaded. */
  viewChanged(): void {
    this.#refreshSoon();
  }
}
