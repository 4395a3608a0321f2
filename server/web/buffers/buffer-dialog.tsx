import { useComputed, useSignal, useSignalEffect } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { bytes, count, duration } from '../../src/contract/format.ts';
import {
  attachmentText,
  inodeOf,
  ownerText,
  podName,
  processName,
  vmName,
} from '../../src/contract/names.ts';
import { isRejection } from '../../src/contract/rejection.ts';
import { ask } from '../data/api.ts';
import { describe, reasonOf } from '../data/event-description.ts';
import type { PageStore } from '../data/page-store.ts';
import type { BufferView, TracerEvent } from '../data/types.ts';
import { When } from '../parts/times.tsx';

interface History {
  inode: number;
  events: readonly TracerEvent[];
  buffer: BufferView | null;
  /** The buffer has more events than one answer contains. */
  cut: boolean;
}

/** The history of one buffer: its facts and its events. */
export function BufferDialog({ store }: { store: PageStore }) {
  const element = useRef<HTMLDialogElement>(null);
  const history = useSignal<History | null>(null);
  const inode = useComputed(() => store.view.value.buffer);
  const wanted = inode.value;

  useSignalEffect(() => {
    const { value } = inode;
    history.value = null;
    if (value !== null) {
      load(store, value).then(
        (loaded) => {
          if (inode.peek() === value) history.value = loaded;
        },
        // A banner shows the lost connection. Opening the dialog again retries.
        () => {},
      );
    }
  });
  useLayoutEffect(() => {
    const { current } = element;
    if (wanted !== null && current?.open === false) current.showModal();
    if (wanted === null && current?.open === true) current.close();
  }, [wanted]);

  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: a click outside closes it, and the browser handles Escape
    <dialog
      ref={element}
      aria-labelledby="life-title"
      onClose={() => store.view.peek().buffer !== null && store.show({ buffer: null })}
      onClick={(event) => event.target === event.currentTarget && element.current?.close()}
    >
      {wanted !== null && (
        <div class="life">
          <div class="title-row">
            <h2 id="life-title">Buffer {wanted}</h2>
            <button type="button" class="close" aria-label="Close" onClick={() => element.current?.close()}>
              ✕
            </button>
          </div>
          {history.value === null ? (
            <p class="empty">Loading its events…</p>
          ) : (
            <HistoryOf store={store} history={history.value} />
          )}
        </div>
      )}
    </dialog>
  );
}

async function load(store: PageStore, inode: number): Promise<History> {
  const [answer, released] = await Promise.all([
    ask('events', { inode, limit: 1000 }),
    store.buffers.peek().buffers.some((buffer) => buffer.inode === inode)
      ? undefined
      : ask('buffers', { state: 'released', limit: 10_000 }),
  ]);
  const buffer = released?.buffers.find((one) => one.inode === inode) ?? null;
  return { inode, events: answer.events, buffer, cut: answer.more };
}

function HistoryOf({ store, history }: { store: PageStore; history: History }) {
  const last = history.events.at(-1)?.seq ?? 0;
  const events = [
    ...history.events,
    ...store.events.value.filter((event) => event.seq > last && inodeOf(event) === history.inode),
  ];
  const buffer = store.buffers.value.buffers.find((one) => one.inode === history.inode) ?? history.buffer;
  const begin = events[0] === undefined ? 0 : events[0].boot_us;
  return (
    <>
      {buffer === null ? (
        <p class="more">The facts of this buffer were evicted.</p>
      ) : (
        <Facts store={store} buffer={buffer} />
      )}
      <h3>History</h3>
      {events.length === 0 && (
        <p class="empty">
          The log has no event of this buffer: they were evicted, lost, or happened before tracing started.
        </p>
      )}
      {history.cut && <p class="more">The first {history.events.length} events. There are more.</p>}
      <ol class="timeline">
        {events.map((event) => (
          <Moment key={event.seq} store={store} event={event} after={(event.boot_us - begin) / 1e6} />
        ))}
      </ol>
    </>
  );
}

function Moment({ store, event, after }: { store: PageStore; event: TracerEvent; after: number }) {
  const { tone, title, detail } = describe(event);
  const reason = reasonOf(event);
  return (
    <li class={tone}>
      <p>
        <b>{title}</b>
        {detail !== '' && <span class="muted"> {detail}</span>}
        {reason !== null && (
          <>
            {' '}
            <button
              type="button"
              class="link"
              onClick={() =>
                store.show({ buffer: null, reason, ...(isRejection(event) ? {} : { feed: 'all' }) })
              }
            >
              {reason}
            </button>
          </>
        )}
      </p>
      <p class="note">
        <When store={store} iso={event.time} />
        {after > 0 && `, ${duration(after)} after the first`}
        {'comm' in event && `, by ${processName(event)}`}
      </p>
    </li>
  );
}

/** Where the VM runs, if that is a pod or a container; the ID of one whose name is not known. */
function placeOf(vm: BufferView['vm']): [string, string][] {
  if (vm === null) return [];
  const rows: [string, string | null][] = [
    ['Pod', podName(vm) ?? vm.pod_uid],
    ['Container', vm.container_name ?? vm.container_id],
  ];
  return rows.flatMap(([name, value]) => (value === null ? [] : [[name, value]]));
}

function Facts({ store, buffer }: { store: PageStore; buffer: BufferView }) {
  const { attachments, holders, vm } = buffer;
  const facts: [string, string][] = [
    ['State', `${buffer.state}${buffer.revoke_cause === null ? '' : ` by ${buffer.revoke_cause}`}`],
    ['Privacy', buffer.privacy],
    ['Device', `${buffer.device}${buffer.region === null ? '' : `, BAR ${buffer.region}`}`],
    ['Size', `${bytes(buffer.bytes)} in ${count(buffer.ranges, 'range')}`],
    ['Owner', ownerText(buffer) || 'not known'],
    ['VM', vm === null ? 'none known' : `${vmName(vm)} (${vm.vmm ?? vm.kind}, pid ${vm.pid})`],
    ...placeOf(vm),
    ['Importers', attachments.map(attachmentText).join('; ') || 'none'],
    [
      'Holders',
      buffer.holders_at === null
        ? 'not read yet'
        : holders.map((one) => `${processName(one)}, ${one.fds} fd`).join('; ') || 'none',
    ],
  ];
  return (
    <dl class="life-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
      {buffer.holders_at !== null && (
        <div>
          <dt>Holders read at</dt>
          <dd>
            <When store={store} iso={buffer.holders_at} />
          </dd>
        </div>
      )}
    </dl>
  );
}
