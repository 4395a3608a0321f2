import { useComputed, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { byDevice } from '../../src/contract/device-order.ts';
import { errnoName } from '../../src/contract/errno-names.ts';
import { count } from '../../src/contract/format.ts';
import { inodeOf, processName } from '../../src/contract/names.ts';
import { isRejection } from '../../src/contract/rejection.ts';
import { describe, reasonOf } from '../data/event-description.ts';
import { figure, knowledgeOf, NOT_KNOWN } from '../data/knowledge.ts';
import type { PageStore } from '../data/page-store.ts';
import type { TracerEvent } from '../data/types.ts';
import { Section } from '../parts/section.tsx';
import { When } from '../parts/times.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { ReasonView } from './reason-view.tsx';

export function RejectionsSection({ store }: { store: PageStore }) {
  const open = useSignal<number | null>(null);
  const rows = useComputed(() => {
    const { feed, reason, device } = store.view.value;
    const wanted = store.events.value.filter(
      (event) =>
        (feed === 'all' || isRejection(event)) &&
        (device === null || event.device === device) &&
        (reason === null || ('reason' in event && event.reason === reason)),
    );
    return wanted.reverse();
  });
  const { reason, feed, device } = store.view.value;
  const status = store.status.value;
  const known = knowledgeOf(status);
  const narrow = store.narrow.value;
  const counted = store.rejectionCounts
    .filter((one) => (reason === null || one.reason === reason) && (device === null || one.device === device))
    .reduce((sum, one) => sum + one.count, 0);
  // Other topics (policy violations, incidents) are not reasons of rejections, so no rejection has their name.
  const entry = reason === null ? undefined : store.reasons.value.get(reason);
  const isCounted = reason === null || (typeof entry === 'object' && entry.topic === 'reason');
  useEffect(() => {
    if (reason !== null) document.getElementById('rejections')?.scrollIntoView();
  }, [reason]);
  const { value: shown } = rows;
  return (
    <Section id="rejections" title="Rejections" note="select one for its reason and the fix">
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
        <DeviceFilter store={store} />
        <p class="count" role="status" aria-live="polite">
          {known === 'never'
            ? 'not known'
            : [
                `${count(shown.length, 'event')} here`,
                ...(isCounted ? [`${figure(counted, status, 'rejections')} rejected since the start`] : []),
              ].join(', ')}
        </p>
      </div>
      {reason !== null && (
        <div class="reason-open">
          <div class="title-row">
            <h3>
              <code>{reason}</code>
            </h3>
            <button type="button" onClick={() => store.show({ reason: null })}>
              Show all reasons
            </button>
          </div>
          <ReasonView store={store} name={reason} stage={null} privateBuffer={null} />
        </div>
      )}
      {shown.length === 0 ? (
        <p class="empty">{known === 'never' ? NOT_KNOWN : emptyText(feed, isCounted && counted > 0)}</p>
      ) : (
        <VirtualList
          rows={shown}
          keyOf={(event) => event.seq}
          rowHeight={narrow ? 84 : 38}
          seen={narrow ? 6 : 10}
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

/** Rejections that the kernel counted may not be in the list: the log has a limit, and events can be lost. */
function emptyText(feed: 'rejected' | 'all', counted: boolean): string {
  if (feed === 'all') return 'No event is in the log.';
  return counted ? 'These rejections are not in the log any more.' : 'No rejection is in the log.';
}

/** The devices that exported or were rejected, as a choice. */
function DeviceFilter({ store }: { store: PageStore }) {
  const { device } = store.view.value;
  const devices = new Set([
    ...(device === null ? [] : [device]),
    ...store.buffers.value.buffers.map((one) => one.device),
    ...store.rejectionCounts.map((one) => one.device),
  ]);
  return (
    <label>
      <span>Device</span>
      <select
        value={device ?? ''}
        onChange={({ currentTarget: { value } }) => store.show({ device: value === '' ? null : value })}
      >
        <option value="">all</option>
        {[...devices].sort(byDevice).map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Null if the event is not an import by an importer other than KVM, or the privacy of its buffer is not known. */
function isPrivateImport(event: TracerEvent): boolean | null {
  return event.kind === 'import' && event.privacy !== null ? event.privacy === 'private' : null;
}

function EventRow(props: { store: PageStore; event: TracerEvent; isOpen: boolean; toggle: () => void }) {
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
      <span class="e-who muted">{'comm' in event ? processName(event) : ''}</span>
    </button>
  );
}

function Opened({ store, event, close }: { store: PageStore; event: TracerEvent; close: () => void }) {
  const inode = inodeOf(event);
  const stage = event.kind === 'import' ? event.stage : event.kind;
  const named = event.kind === 'buffer_state' || event.kind === 'revoke_call' ? event.cause : null;
  const name = reasonOf(event) ?? named;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes the panel that contains the focus
    <div
      class="opened"
      onKeyDown={(key) => {
        if (key.key === 'Escape') close();
      }}
    >
      {name !== null && name !== 'unknown' && name !== 'none' && (
        <ReasonView store={store} name={name} stage={stage} privateBuffer={isPrivateImport(event)} />
      )}
      {event.kind === 'incident' && <p>{event.incident.sentence}</p>}
      <p class="note">
        Event {event.seq} of device {event.device}, <time dateTime={event.time}>{event.time}</time>
        {'errno' in event && event.errno !== 0 && `, ${errnoName(event.errno)} (errno ${event.errno})`}
      </p>
      <p class="actions">
        {inode !== null && inode !== 0 && (
          <button type="button" onClick={() => store.show({ buffer: inode })}>
            History of buffer {inode}
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
