import type { ComponentChildren } from 'preact';
import { clock, count } from '../../src/contract/format.ts';
import { blindSentence, lossSentences } from '../../src/contract/texts.ts';
import { countersSentence } from '../data/knowledge.ts';
import type { PageStore } from '../data/page-store.ts';

/** Facts that limit how far everything below can be trusted. */
export function Banners({ store }: { store: PageStore }) {
  const status = store.status.value;
  const link = store.link.value;
  const dropped = store.dropped.value;
  if (status === null) return null;
  const losses = lossSentences(status);
  const blind = blindSentence(status);
  const now = Date.now();
  return (
    <div class="banners">
      {status.source.kind === 'replay' && (
        <Banner tone="replay" title={`Replay of ${status.source.name}: not this host, not now`}>
          Times are relative to the end of the recording.
        </Banner>
      )}
      {status.simulation !== null && (
        <Banner tone="bad" title="Simulated faults: some values are not real">
          This tracer was started with <code>--simulate={status.simulation}</code>.
        </Banner>
      )}
      {losses.length > 0 && (
        <Banner tone="bad" title="Data was lost">
          {losses.join(' ')} {countersSentence(status)}
        </Banner>
      )}
      {blind !== null && (
        <Banner tone="warn" title="Not all of the time was traced">
          {blind}
        </Banner>
      )}
      <div role="status" aria-live="polite" class="link-state">
        {link.state === 'lost' && (
          <Banner tone="bad" title={`Connection lost since ${clock(link.since, now)}`}>
            The values are from before that. Retrying.
          </Banner>
        )}
        {link.state === 'live' && link.back !== null && (
          <Banner tone="ok" title="Connected again">
            The connection was lost from {clock(link.back.from, now)} to {clock(link.back.to, now)}. The
            events since then are shown
            {dropped > 0 ? ', except those that had left the server’s log' : ''}.
          </Banner>
        )}
        {dropped > 0 && (
          <Banner tone="warn" title={`${count(dropped, 'event')} are missing in this page`}>
            They left the server’s log before this page could read them.
          </Banner>
        )}
      </div>
    </div>
  );
}

function Banner(props: {
  tone: 'bad' | 'warn' | 'ok' | 'replay';
  title: string;
  children: ComponentChildren;
}) {
  return (
    <div class={`banner ${props.tone}`}>
      <strong>{props.title}</strong> <span>{props.children}</span>
    </div>
  );
}
