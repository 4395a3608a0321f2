import { age, clock } from '../../src/contract/format.ts';
import type { PageStore } from '../data/page-store.ts';

/** A time of day in the browser's zone, with the full UTC time as its tooltip. */
export function When({ store, iso }: { store: PageStore; iso: string }) {
  const status = store.status.value;
  // The time of the stream: a replay was recorded on another day.
  const now = status === null ? 0 : Date.parse(status.now);
  return (
    <time dateTime={iso} title={iso}>
      {clock(iso, now)}
    </time>
  );
}

/** The time since then by the clock of the stream. In a replay that ends with the recording. */
export function Age({ store, iso }: { store: PageStore; iso: string }) {
  return (
    <time dateTime={iso} title={iso}>
      {age(store.now.value - Date.parse(iso))}
    </time>
  );
}
