import { useComputed, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { isRejection } from '../src/shared/rejection.ts';
import { describe, reasonOf } from './describe.ts';
import { count } from './format.ts';
import { figure, knowledgeOf, NOT_KNOWN, watches } from './headline.ts';
import { ReasonView } from './reason-view.tsx';
import { Section } from './section.tsx';
import type { Store } from './store.ts';
import type { TracerEvent } from './types.ts';
import { VirtualList } from './virtual-list.tsx';
import { When } from './when.tsx';

export function Feed({ store }: { store: Store }) {
  const open = useSignal<number | null>(null);
  const rows = useComputed(() => {
    const { feed, reason } = store.view.value;
    const wanted = store.events.value.filter(
      (event) =>
        (feed === 'all' || isRejection(event)) &&
        (reason === null || ('reason' in event && event.reason === reason)),
    );
    return wanted.reverse();
  });
  const { reason, feed } = store.view.value;
  const status = store.status.value;
  const known = knowledgeOf(status);
  const watched = watches(status, 'rejections');
  const narrow = store.narrow.value;
  const counts = store.rejections.value?.counts;
  const counted = [...(counts?.imports ?? []), ...(counts?.exports ?? [])]
    .filter((one) => reason === null || one.reason === reason)
    .reduce((sum, one) => sum + one.count, 0);
  useEffect(() => {
    if (reason !== null) document.getElementById('rejections')?.scrollIntoView();
  }, [reason]);
  const { value: shown } = rows;
  return (
    <Section id="rejections" title="Rejections" note="click one for why, and what to do">
      <div class="filters">
        <fieldset>
          <legend>Show</legend>
          {(['rejected', 'all'] as const).map((one) => (
            <label key={one} class="choice">
              <input
                type="radio"
                name="feed"
                checked={feed === one}
                onChange={() => store.show({ feed: one })}
              />
              {one === 'rejected' ? 'rejections' : 'all events'}
            </label>
          ))}
        </fieldset>
        <p class="count" role="status" aria-live="polite">
          {known === 'never'
            ? 'not known'
            : `${count(shown.length, 'event')} here, ${figure(counted, status, 'rejections')} rejected since the start as the kernel counts`}
        </p>
      </div>
      {reason !== null && (
        <div class="reason-open">
          <div class="life-head">
            <h3>
              <code>{reason}</code>
            </h3>
            <button type="button" onClick={() => store.show({ reason: null })}>
              Show all reasons
            </button>
          </div>
          <ReasonView store={store} name={reason} stage={null} />
        </div>
      )}
      {shown.length === 0 ? (
        <p class="empty">
          {known === 'never'
            ? NOT_KNOWN
            : feed === 'all'
              ? 'Nothing has happened yet.'
              : `Nothing was rejected that is ${watched ? '' : 'watched and '}still in the log.`}
        </p>
      ) : (
        <VirtualList
          rows={shown}
          keyOf={(event) => event.seq}
          rowHeight={narrow ? 62 : 38}
          seen={narrow ? 7 : 10}
          label={feed === 'all' ? 'Events, the newest first' : 'Rejections, the newest first'}
          roles={{ rows: 'list', row: 'listitem' }}
          {...(open.value === null
            ? {}
            : {
                open: {
                  key: open.value,
                  render: (event: TracerEvent) => (
                    <Opened store={store} event={event} close={() => (open.value = null)} />
                  ),
                },
              })}
          rowClass={(event) => `event ${describe(event).tone}`}
          render={(event) => (
            <EventRow
              store={store}
              event={event}
              isOpen={event.seq === open.value}
              toggle={() => {
                open.value = event.seq === open.value ? null : event.seq;
              }}
            />
          )}
        />
      )}
    </Section>
  );
}

function EventRow(props: { store: Store; event: TracerEvent; isOpen: boolean; toggle: () => void }) {
  const { store, event, isOpen, toggle } = props;
  const { title, detail } = describe(event);
  const reason = reasonOf(event);
  return (
    <button
      type="button"
      class="event-button"
      aria-expanded={isOpen}
      onClick={toggle}
      onKeyDown={(key) => {
        if (key.key === 'Escape' && isOpen) toggle();
      }}
    >
      <span class="e-time">
        <When store={store} iso={event.time} />
      </span>
      <span class="e-title">
        {title}
        {detail !== '' && <span class="muted"> {detail}</span>}
      </span>
      <span class="e-reason">{reason !== null && <span class="badge rejected">{reason}</span>}</span>
      <span class="e-device mono">{event.device}</span>
      <span class="e-who muted">{'comm' in event ? `${event.comm} (${event.pid})` : ''}</span>
    </button>
  );
}

function Opened({ store, event, close }: { store: Store; event: TracerEvent; close: () => void }) {
  const inode = event.kind === 'incident' ? event.incident.inode : 'inode' in event ? event.inode : null;
  const stage = event.kind === 'import' ? event.stage : event.kind;
  const named = event.kind === 'buffer_state' || event.kind === 'revoke_call' ? event.cause : null;
  const name = reasonOf(event) ?? named;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes what has the focus in it
    <div
      class="opened"
      onKeyDown={(key) => {
        if (key.key === 'Escape') close();
      }}
    >
      {name !== null && name !== 'unknown' && name !== 'none' && (
        <ReasonView store={store} name={name} stage={stage} />
      )}
      {event.kind === 'incident' && <p>{event.incident.sentence}</p>}
      <p class="note">
        Event {event.seq} of device {event.device}, <time dateTime={event.time}>{event.time}</time>
        {'errno' in event && event.errno !== 0 && `, errno ${event.errno}`}
      </p>
      <p class="actions">
        {inode !== null && inode !== 0 && (
          <button type="button" onClick={() => store.show({ buffer: inode })}>
            Life of buffer {inode}
          </button>
        )}
        {name !== null && isRejection(event) && (
          <button type="button" onClick={() => store.show({ reason: name })}>
            Only this reason
          </button>
        )}
        <button type="button" onClick={close}>
          Close
        </button>
      </p>
    </div>
  );
}
