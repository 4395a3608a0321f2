import type { ComponentChildren } from 'preact';
import { blindSentence, count, lossSentences } from '../src/shared/texts.ts';
import { clock } from './format.ts';
import { countersSentence } from './headline.ts';
import type { Store } from './store.ts';

/** What has to be known before anything else here is believed. */
export function Banners({ store }: { store: Store }) {
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
          Times are told from the recording’s end.
        </Banner>
      )}
      {status.simulation !== null && (
        <Banner tone="bad" title="Simulated faults: not all here is real">
          This tracer was started with <code>--simulate={status.simulation}</code>.
        </Banner>
      )}
      {losses.length > 0 && (
        <Banner tone="bad" title="Data was lost">
          {losses.join(' ')} {countersSentence(status)}
        </Banner>
      )}
      {blind !== null && (
        <Banner tone="warn" title="Not all the time was watched">
          {blind}
        </Banner>
      )}
      <div role="status" aria-live="polite" class="link-state">
        {link.state === 'lost' && (
          <Banner tone="bad" title={`Connection lost since ${clock(link.since, now)}`}>
            What is shown is of before that. Trying again.
          </Banner>
        )}
        {link.state === 'live' && link.back !== null && (
          <Banner tone="ok" title="Connected again">
            It was lost from {clock(link.back.from, now)} to {clock(link.back.to, now)}. What happened
            meanwhile is here
            {dropped > 0 ? ', but for what had left the server’s log' : ''}.
          </Banner>
        )}
        {dropped > 0 && (
          <Banner tone="warn" title={`${count(dropped, 'event')} are missing in this page`}>
            They had left the log of the server before this page could read them.
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
