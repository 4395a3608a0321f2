import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

/** Rows rendered above and below the visible ones, for quick scrolling and the Tab key. */
const MARGIN = 6;

export interface VirtualListProps<T> {
  rows: readonly T[];
  keyOf: (row: T) => number;
  rowHeight: number;
  /** Most rows that are visible at once. */
  seen: number;
  /** Label of a list; a row group has the label of its table. */
  label: string;
  /** ARIA roles of the container and of each row. */
  roles: { rows: 'rowgroup' | 'list'; row: 'row' | 'listitem' };
  /** The open row, and the panel below it. */
  open?: { key: number; render: (row: T) => ComponentChildren };
  /** Position of the first row for screen readers: 2 if a header row is counted. */
  firstPosition?: number;
  rowClass?: (row: T) => string;
  render: (row: T) => ComponentChildren;
}

/** A list of thousands of rows of the same height. Renders only the visible rows and the row with the focus. */
export function VirtualList<T>(props: VirtualListProps<T>) {
  const { rows, keyOf, rowHeight, seen, roles, open } = props;
  const box = useRef<HTMLDivElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const panelHeight = useSignal(0);
  const focused = useSignal<number | null>(null);
  const wanted = useRef<number | null>(null);
  const first = useRef<number | null>(null);

  const openIndex = open === undefined ? -1 : rows.findIndex((row) => keyOf(row) === open.key);
  const extra = openIndex === -1 ? 0 : panelHeight.value;
  const offset = (index: number): number =>
    index * rowHeight + (openIndex !== -1 && index > openIndex ? extra : 0);
  const total = rows.length * rowHeight + extra;
  const height = Math.min(total, seen * rowHeight + extra);

  useLayoutEffect(() => {
    const { current } = panel;
    if (current === null) return;
    panelHeight.value = current.offsetHeight;
    const observer = new ResizeObserver(() => {
      panelHeight.value = current.offsetHeight;
    });
    observer.observe(current);
    return () => observer.disconnect();
  }, [open?.key, openIndex, panelHeight]);

  // New rows above must not move the rows that are visible.
  useLayoutEffect(() => {
    const { current } = box;
    const before = first.current;
    first.current = rows[0] === undefined ? null : keyOf(rows[0]);
    if (current === null || before === null || before === first.current || current.scrollTop === 0) return;
    const index = rows.findIndex((row) => keyOf(row) === before);
    if (index > 0) current.scrollTop += index * rowHeight;
  }, [rows, rowHeight]);

  useLayoutEffect(() => {
    if (wanted.current === null) return;
    const row = box.current?.querySelector<HTMLElement>(`[data-index="${wanted.current}"] button`);
    if (row == null) return;
    wanted.current = null;
    row.focus({ preventScroll: true });
  });

  const go = (index: number): void => {
    const { current } = box;
    if (current === null || rows.length === 0) return;
    const target = Math.max(0, Math.min(rows.length - 1, index));
    const y = offset(target);
    if (y < current.scrollTop) current.scrollTop = y;
    else if (y + rowHeight > current.scrollTop + current.clientHeight)
      current.scrollTop = y + rowHeight - current.clientHeight;
    wanted.current = target;
    focused.value = target;
    top.value = current.scrollTop;
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-index]');
    if (row === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const index = Number(row.dataset.index);
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + seen,
      PageUp: index - seen,
      Home: 0,
      End: rows.length - 1,
    };
    const next = steps[event.key];
    if (next === undefined) return;
    event.preventDefault();
    go(next);
  };

  // Rows after the open one are lower by the height of its panel, so more rows are rendered.
  const from = Math.max(0, Math.floor((top.value - extra) / rowHeight) - MARGIN);
  const until = Math.min(rows.length, Math.ceil((top.value + height) / rowHeight) + MARGIN);
  const indexes = Array.from({ length: Math.max(0, until - from) }, (_, index) => from + index);
  const { value: kept } = focused;
  if (kept !== null && kept < rows.length && (kept < from || kept >= until)) indexes.push(kept);
  const position = props.firstPosition ?? 1;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys move between the buttons of its rows
    <div
      ref={box}
      class="virtual"
      style={{ height: `${height}px` }}
      role={roles.rows}
      {...(roles.rows === 'list' ? { 'aria-label': props.label } : {})}
      tabIndex={0}
      onScroll={(event) => {
        top.value = event.currentTarget.scrollTop;
      }}
      onKeyDown={onKeyDown}
      onFocusIn={(event) => {
        const row = (event.target as HTMLElement).closest<HTMLElement>('[data-index]');
        if (row !== null) focused.value = Number(row.dataset.index);
      }}
      onFocusOut={() => {
        if (wanted.current === null) focused.value = null;
      }}
    >
      <div class="virtual-space" role="presentation" style={{ height: `${total}px` }}>
        {indexes.map((index) => {
          const row = rows[index];
          if (row === undefined) return null;
          const isOpen = index === openIndex;
          return (
            <div
              key={keyOf(row)}
              data-index={index}
              role={roles.row}
              {...(roles.row === 'row'
                ? { 'aria-rowindex': index + position }
                : { 'aria-posinset': index + position, 'aria-setsize': rows.length })}
              class={`virtual-row ${props.rowClass?.(row) ?? ''}${isOpen ? ' open' : ''}`}
              style={{ top: `${offset(index)}px` }}
            >
              <div class="virtual-line" role="presentation" style={{ height: `${rowHeight}px` }}>
                {props.render(row)}
              </div>
              {isOpen && (
                <div ref={panel} class="virtual-panel">
                  {open?.render(row)}
                </div>
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}
