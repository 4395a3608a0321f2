import { useComputed } from '@preact/signals';
import { bytes, count, NO_VALUE, number } from '../../src/contract/format.ts';
import { ownerText, processName, vmName } from '../../src/contract/names.ts';
import { covers, knowledgeOf, NO_EXPORT } from '../data/knowledge.ts';
import type { PageStore } from '../data/page-store.ts';
import { PRIVACY_FILTERS, type Sort, STATE_FILTERS } from '../data/page-view.ts';
import type { BufferView } from '../data/types.ts';
import { Section } from '../parts/section.tsx';
import { Age } from '../parts/times.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { bufferRows, importerNames, since } from './buffer-rows.ts';

const COLUMNS: readonly (readonly [string, Sort | null])[] = [
  ['Buffer', null],
  ['State', 'state'],
  ['Age', 'age'],
  ['Size', 'size'],
  ['Device', 'device'],
  ['Owner', 'owner'],
  ['VM', 'vm'],
  ['Holders', null],
  ['Importers', 'importers'],
];

const STATE_LABELS: Readonly<Record<string, string>> = { existing: 'live and revoked' };

export function BuffersSection({ store }: { store: PageStore }) {
  const rows = useComputed(() => bufferRows(store.buffers.value.buffers, store.view.value));
  const { total, buffers } = store.buffers.value;
  const known = useComputed(() => knowledgeOf(store.status.value)).value;
  const complete = useComputed(() => covers(store.status.value, 'importers')).value;
  const view = store.view.value;
  const narrow = store.narrow.value;
  const { value: shown } = rows;
  const filtered = view.text !== '' || view.state !== 'existing' || view.privacy !== 'any';
  return (
    <Section id="buffers" title="Buffers" note="select one for its history">
      <div class="filters">
        <label class="wide">
          <span>Filter</span>
          <input
            type="search"
            placeholder="device, VM, owner, importer, #inode"
            value={view.text}
            onInput={(event) => store.show({ text: event.currentTarget.value })}
            onKeyDown={(event) => {
              if (event.key === 'Escape') store.show({ text: '' });
            }}
          />
        </label>
        <Select
          label="State"
          options={STATE_FILTERS}
          labels={STATE_LABELS}
          value={view.state}
          onChange={(state) => store.show({ state })}
        />
        <Select
          label="Privacy"
          options={PRIVACY_FILTERS}
          value={view.privacy}
          onChange={(privacy) => store.show({ privacy })}
        />
        <Select
          className="by-head"
          label="Order"
          options={['age', 'size', 'device', 'owner', 'vm', 'importers', 'state'] as const}
          value={view.sort}
          onChange={(sort) => store.show({ sort })}
        />
        <button
          type="button"
          class="by-head"
          aria-pressed={view.descending}
          onClick={() => store.show({ descending: !view.descending })}
        >
          {view.descending ? '↑' : '↓'} reversed
        </button>
      </div>
      <p class="count" role="status" aria-live="polite">
        {known === 'never'
          ? 'not known'
          : filtered
            ? `${number(shown.length)} of ${count(buffers.length, 'buffer')}`
            : count(shown.length, 'buffer')}
        {total > buffers.length && `; ${number(total - buffers.length)} more are in the API only`}
      </p>
      <div class="table" role="table" aria-label="Buffers" aria-rowcount={shown.length + 1}>
        <div role="rowgroup" class="table-head">
          <div role="row" class="row" aria-rowindex={1}>
            {COLUMNS.map(([name, sort]) => (
              <Head key={name} store={store} name={name} sort={sort} />
            ))}
          </div>
        </div>
        {shown.length === 0 ? (
          <div role="rowgroup">
            <div role="row" class="empty">
              <span role="cell">
                {filtered && known !== 'never' ? 'No buffer matches the filter.' : NO_EXPORT[known]}
              </span>
            </div>
          </div>
        ) : (
          <VirtualList
            rows={shown}
            keyOf={(buffer) => buffer.inode}
            rowHeight={narrow ? 96 : 38}
            seen={narrow ? 5 : 12}
            label="Rows of the buffers"
            roles={{ rows: 'rowgroup', row: 'row' }}
            firstPosition={2}
            rowClass={(buffer) => `row ${buffer.state}`}
            render={(buffer) => <Row store={store} buffer={buffer} complete={complete} />}
          />
        )}
      </div>
    </Section>
  );
}

function Head({ store, name, sort }: { store: PageStore; name: string; sort: Sort | null }) {
  const { sort: current, descending } = store.view.value;
  const active = sort !== null && sort === current;
  return (
    <span role="columnheader" aria-sort={active ? (descending ? 'descending' : 'ascending') : undefined}>
      {sort === null ? (
        name
      ) : (
        <button
          type="button"
          class="sort"
          onClick={() => store.show({ sort, descending: active && !descending })}
        >
          {name}
          <i aria-hidden="true">{active ? (descending ? '↑' : '↓') : ''}</i>
        </button>
      )}
    </span>
  );
}

function Row(props: { store: PageStore; buffer: BufferView; complete: boolean }) {
  const { store, buffer, complete } = props;
  const { inode, state, privacy, device, vm, owner, holders, attachments } = buffer;
  const importers = importerNames(buffer);
  const rejected = attachments.length > 0 && attachments.every(({ mapped }) => !mapped);
  return (
    <>
      <span role="cell" class="c-buffer">
        <button type="button" class="row-button" onClick={() => store.show({ buffer: inode })}>
          #{inode}
        </button>
        {privacy !== 'undeclared' && <span class={`badge ${privacy}`}>{privacy}</span>}
      </span>
      <span role="cell" class={`c-state ${state}`}>
        {state}
        {buffer.lost_mappings > 0 && ', mappings lost'}
      </span>
      <span role="cell" class="c-age">
        {buffer.preexisting && <span title="exported before tracing started">≥ </span>}
        <Age store={store} iso={since(buffer)} />
      </span>
      <span role="cell" class="c-size">
        {bytes(buffer.bytes)}
      </span>
      <span role="cell" class="c-device mono">
        {device}
      </span>
      <span role="cell" class={`c-owner${owner?.gone === true ? ' warn' : ''}`}>
        {ownerText(buffer) || NO_VALUE}
      </span>
      <span role="cell" class="c-vm">
        {vmName(vm) || NO_VALUE}
      </span>
      <span role="cell" class="c-holders" title={holders.map(processName).join(', ')}>
        {buffer.holders_at === null ? NO_VALUE : holders.length}
      </span>
      <span role="cell" class="c-importers">
        {importers.length === 0 ? (
          <span class="muted">{complete ? 'none' : NO_VALUE}</span>
        ) : (
          importers.join(', ')
        )}
        {rejected && <span class="muted"> (not mapped)</span>}
      </span>
    </>
  );
}

function Select<T extends string>(props: {
  className?: string;
  label: string;
  options: readonly T[];
  labels?: Readonly<Record<string, string>>;
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <label class={props.className}>
      <span>{props.label}</span>
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value as T)}>
        {props.options.map((option) => (
          <option key={option} value={option}>
            {props.labels?.[option] ?? option}
          </option>
        ))}
      </select>
    </label>
  );
}
