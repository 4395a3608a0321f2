import { clock, span } from './format.ts';
import type { Store } from './store.ts';

/** A time of day in the browser's zone, the whole of it in UTC on hover. */
export function When({ store, iso }: { store: Store; iso: string }) {
  const status = store.status.value;
  // Relative to the stream: a replay is of another day.
  const now = status === null ? 0 : Date.parse(status.now);
  return (
    <time dateTime={iso} title={iso}>
      {clock(iso, now)}
    </time>
  );
}

/** How long ago it was, in the time of the stream: of a replay, from its end. */
export function Age({ store, iso }: { store: Store; iso: string }) {
  return (
    <time dateTime={iso} title={iso}>
      {span(store.now.value - Date.parse(iso))}
    </time>
  );
}
