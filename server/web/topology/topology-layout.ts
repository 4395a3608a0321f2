import { bytes, count } from '../../src/contract/format.ts';
import { vmTitle } from '../../src/contract/names.ts';
import { ROUTE_TEXT } from '../../src/contract/routes.ts';
import type { Sharing, TopologyNode, VmRef } from '../data/types.ts';
import { type Curve, part, pointAt } from './curve.ts';
import { OTHER_DEVICES, type Row, topologyRows } from './topology-rows.ts';

const NODE = 38;
const GAP = 7;
const GROUP_GAP = 16;
const GROUP_HEAD = 24;
const PAD = 8;

export interface Box {
  id: string;
  kind: 'device' | 'buffer' | 'importer';
  x: number;
  y: number;
  width: number;
  height: number;
  title: string;
  detail: string;
  /** Text of the tooltip. */
  full: string;
  private: boolean;
  revoked: boolean;
  bad: boolean;
  /** The buffer of this box; null if the box contains several, or for none. */
  inode: number | null;
}
export interface Line {
  from: string;
  to: string;
  path: string;
  /** Where the line of a rejected import is broken; null for others. */
  broken: { x: number; y: number } | null;
  state: 'export' | 'mapped' | 'attached' | 'revoked' | 'rejected';
  private: boolean;
  /** The reason of the rejection, shortened to the space that is available. */
  label: string;
  full: string;
}
export interface Group {
  title: string;
  full: string;
  x: number;
  y: number;
  width: number;
  height: number;
}
export interface Graph {
  width: number;
  height: number;
  boxes: Box[];
  lines: Line[];
  groups: Group[];
  /** Sentences about what is drawn as one; empty if nothing is folded. */
  folded: string[];
}

/** The position of each layer, and how much text fits in its boxes. */
interface Columns {
  narrow: boolean;
  pad: number;
  device: Column;
  buffer: Column;
  importer: Column;
}
interface Column {
  x: number;
  width: number;
}

/** On narrow screens a device is above its buffers, which leaves more width for the lines to the importers. */
function columnsOf(width: number): Columns {
  if (width < 560) {
    const pad = 5;
    return {
      narrow: true,
      pad,
      device: { x: pad, width: 130 },
      buffer: { x: pad + 18, width: 124 },
      importer: { x: width - 101, width: 100 },
    };
  }
  const inner = width - 2 * PAD;
  const importer = Math.min(190, inner * 0.22);
  return {
    narrow: false,
    pad: PAD,
    device: { x: PAD, width: Math.min(190, inner * 0.24) },
    buffer: { x: PAD + inner * (width < 1000 ? 0.3 : 0.36), width: Math.min(210, inner * 0.26) },
    importer: { x: width - importer - PAD, width: importer },
  };
}

/** Three layers (devices, buffers, importers), with VMs as frames around the first two. */
export function layoutTopology(
  topology: Sharing,
  rejectedExports: ReadonlyMap<string, number>,
  width: number,
): Graph {
  return new Layout(topology, width).draw(rejectedExports);
}

class Layout {
  readonly #nodes: ReadonlyMap<string, TopologyNode>;
  readonly #vms = new Map<string, VmRef>();
  readonly #rows: readonly Row[];
  readonly #columns: Columns;
  readonly #boxes = new Map<string, Box>();
  readonly #graph: Graph;
  /** Areas that crosses and reasons occupy. */
  readonly #taken: Area[] = [];

  constructor(topology: Sharing, width: number) {
    this.#nodes = new Map(topology.nodes.map((node) => [node.id, node]));
    for (const { type, from, to } of topology.edges) {
      const node = this.#nodes.get(from);
      if (type === 'assigned' && node?.type === 'vm') this.#vms.set(to, node.vm);
    }
    const folded: string[] = [];
    this.#rows = topologyRows(topology, folded);
    this.#columns = columnsOf(width);
    this.#graph = { width, height: 0, boxes: [], lines: [], groups: [], folded };
  }

  draw(rejectedExports: ReadonlyMap<string, number>): Graph {
    const drawn = new Set(this.#rows.map(({ device }) => device));
    // A device without buffers whose exports were rejected.
    const bare = drawn.has(OTHER_DEVICES)
      ? []
      : [...rejectedExports.keys()].map((device) => `device:${device}`);
    const groups = new Map<number, string[]>();
    for (const device of new Set([...drawn, ...bare])) {
      const pid = this.#vms.get(device)?.pid ?? 0;
      groups.set(pid, [...(groups.get(pid) ?? []), device]);
    }
    let y = 0;
    // VMs first, then devices without a known VM.
    for (const [, devices] of [...groups].sort(([a], [b]) => Number(a === 0) - Number(b === 0)))
      y = this.#group(devices, rejectedExports, y === 0 ? 0 : y + GROUP_GAP);
    this.#graph.height = Math.ceil(this.#importers(y)) + 1;
    this.#lines();
    return this.#graph;
  }

  /** Places the devices of one VM, or of none, from this height on. Returns where they end. */
  #group(devices: readonly string[], rejectedExports: ReadonlyMap<string, number>, top: number): number {
    const { buffer, pad } = this.#columns;
    const vm = this.#vms.get(devices[0] ?? '');
    let y = vm === undefined ? top : top + GROUP_HEAD;
    for (const [position, device] of devices.entries())
      y = this.#device(device, rejectedExports, position === 0 ? y : y + GAP);
    if (vm === undefined) return y;
    y += PAD;
    const width = buffer.x + buffer.width + pad - 1;
    const title = shorten(vmTitle(vm), this.#letters(width).title);
    this.#graph.groups.push({ title, full: vmTitle(vm), x: 0.5, y: top + 0.5, width, height: y - top - 1 });
    return y;
  }

  #device(id: string, rejectedExports: ReadonlyMap<string, number>, top: number): number {
    const { narrow, device, buffer } = this.#columns;
    const rows = this.#rows.filter((row) => row.device === id);
    const space = narrow ? NODE : Math.max(1, rows.length) * (NODE + GAP) - GAP;
    const address = id === OTHER_DEVICES ? 'other devices' : id.replace(/^device:/, '');
    const rejected = rejectedExports.get(address) ?? 0;
    const exported = count(
      rows.reduce((sum, { buffers }) => sum + buffers.length, 0),
      'buffer',
    );
    this.#add({
      ...PLAIN,
      ...device,
      id,
      kind: 'device',
      y: top + (space - NODE) / 2,
      title: address,
      detail: rejected > 0 ? `${count(rejected, 'export')} rejected` : exported,
      full: `device ${address}: ${exported}, ${count(rejected, 'export')} rejected`,
      bad: rejected > 0,
    });
    let y = narrow && rows.length > 0 ? top + NODE + GAP : top;
    for (const row of rows) {
      this.#add({ ...bufferBox(row), ...buffer, y });
      y += NODE + GAP;
    }
    return rows.length === 0 ? y + NODE : y - GAP;
  }

  /** Spreads the importers over the height in the order of their buffers. Returns where the graph ends. */
  #importers(height: number): number {
    const ys = new Map<string, number[]>();
    for (const row of this.#rows) {
      const y = this.#boxes.get(rowId(row))?.y ?? 0;
      for (const { to } of row.imports) ys.set(to, [...(ys.get(to) ?? []), y]);
    }
    const order = [...ys]
      .map(([id, list]) => ({ id, y: list.reduce((sum, value) => sum + value, 0) / list.length }))
      .sort((a, b) => a.y - b.y);
    const room = Math.max(height, order.length * (NODE + GAP) - GAP);
    for (const [index, { id, y }] of order.entries()) {
      const node = this.#nodes.get(id);
      const [title, detail] =
        node?.type === 'importer' ? [node.importer, node.importer_device] : ['other importers', ''];
      const named = detail !== '' && detail !== title;
      this.#add({
        ...PLAIN,
        ...this.#columns.importer,
        id,
        kind: 'importer',
        y: order.length === 1 ? y : ((index + 0.5) * room) / order.length - NODE / 2,
        title,
        detail: named ? detail : '',
        full: named ? `${title} (${detail})` : title,
      });
    }
    return room;
  }

  #lines(): void {
    for (const row of this.#rows) {
      const id = rowId(row);
      const full = `exports ${count(row.buffers.length, 'buffer')}`;
      this.#line(row.device, id, 'export', bufferBox(row).private, '', full);
      for (const { to, state, mapped, route, reason, private: isPrivate } of row.imports) {
        if (state === 'rejected') this.#line(id, to, state, isPrivate, reason, `rejected: ${reason}`);
        else {
          const drawn = state === 'revoked' ? state : mapped ? 'mapped' : 'attached';
          const full = [drawn, ROUTE_TEXT[route ?? 'unknown']].filter((text) => text !== '').join(' ');
          this.#line(id, to, drawn, isPrivate, '', full);
        }
      }
    }
  }

  #line(
    from: string,
    to: string,
    state: Line['state'],
    isPrivate: boolean,
    label: string,
    full: string,
  ): void {
    const a = this.#boxes.get(from);
    const b = this.#boxes.get(to);
    if (a === undefined || b === undefined) return;
    const curve: Curve = [a.x + a.width, a.y + NODE / 2, b.x - 1, b.y + NODE / 2];
    const { at, text } = state === 'rejected' ? this.#break(curve, label) : { at: null, text: '' };
    const broken = at === null ? null : pointAt(curve, at);
    let path = part(curve, 0, 1);
    if (at !== null && broken !== null) {
      const next = pointAt(curve, at + 0.01);
      const pace = Math.hypot(next.x - broken.x, next.y - broken.y) / 0.01;
      const gap = Math.min(0.1, BREAK_WIDTH / 2 / pace);
      path = part(curve, 0, at - gap) + part(curve, at + gap, 1);
    }
    // From a device above its buffers, down along its left side.
    if (this.#columns.narrow && state === 'export') path = `M${a.x + 8} ${a.y + NODE}V${curve[3]}H${b.x - 1}`;
    this.#graph.lines.push({
      from,
      to,
      path,
      broken,
      state,
      private: isPrivate,
      label: text,
      full: `${a.full} → ${b.full}: ${full}`,
    });
  }

  /** Where a rejected line is broken, and its label. Without space there is only the cross, and the tooltip has the reason. */
  #break(curve: Curve, reason: string): { at: number; text: string } {
    const end = curve[2];
    const places = BREAKS.map((at) => {
      const point = pointAt(curve, at);
      const letters = Math.floor((end - point.x - LABEL_X - 4) / LETTER);
      const text = shorten(reason, letters);
      const written = this.#graph.width > LABELLED && letters >= Math.min(LEAST_LETTERS, reason.length);
      return { at, text, areas: [crossArea(point)], label: written ? [labelArea(point, text)] : [] };
    });
    const free = (areas: readonly Area[]): boolean =>
      areas.every((area) => !this.#taken.some((other) => overlap(area, other)));
    const whole = places.filter(({ areas, label }) => label.length > 0 && free([...areas, ...label]));
    const place =
      whole.find(({ text }) => text === reason) ??
      whole[0] ??
      places.find(({ areas }) => free(areas)) ??
      places[0];
    if (place === undefined) return { at: BREAKS[0], text: '' };
    const labelled = whole.includes(place);
    this.#taken.push(...place.areas, ...(labelled ? place.label : []));
    return { at: place.at, text: labelled ? place.text : '' };
  }

  #add(box: Box): void {
    const { title, detail } = this.#letters(box.width);
    this.#boxes.set(box.id, box);
    this.#graph.boxes.push({
      ...box,
      title: shorten(box.title, title),
      detail: shorten(box.detail, detail),
    });
  }

  /** Characters that fit in a box of this width. */
  #letters(width: number): { title: number; detail: number } {
    const { narrow } = this.#columns;
    const fit = (size: number): number => Math.floor((width - (narrow ? 12 : 22)) / size);
    return narrow ? { title: fit(6.3), detail: fit(5.7) } : { title: fit(7.4), detail: fit(6.4) };
  }
}

const PLAIN = { height: NODE, private: false, revoked: false, bad: false, inode: null } as const;

/**
 * Positions along a rejected line where it may be broken, as shares of its length. The first one is used at which its
 * cross and its reason overlap with no other. Lines do not cross near the buffer, so the search begins there.
 */
const BREAKS = [0.28, 0.4, 0.52, 0.64, 0.76] as const;
/** Below this width no line has a label. */
const LABELLED = 700;
/** A label that would be shorter than this is left out. */
const LEAST_LETTERS = 10;
const LETTER = 6.6;
const BREAK_WIDTH = 20;

interface Area {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Offset of a label from the center of its cross. */
export const LABEL_X = 10;
export const LABEL_Y = -6;

export function crossArea({ x, y }: { x: number; y: number }): Area {
  return { left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 };
}

export function labelArea({ x, y }: { x: number; y: number }, text: string): Area {
  const left = x + LABEL_X;
  return { left, right: left + text.length * LETTER, top: y + LABEL_Y - 11, bottom: y + LABEL_Y + 3 };
}

export function overlap(a: Area, b: Area): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function rowId({ buffers }: Row): string {
  return buffers[0]?.id ?? '';
}

function bufferBox(row: Row): Omit<Box, 'x' | 'y' | 'width'> {
  const [first] = row.buffers;
  const total = row.buffers.reduce((sum, buffer) => sum + buffer.bytes, 0);
  const one = row.buffers.length === 1;
  const isPrivate = first?.privacy === 'private';
  const state = first?.state === 'revoked' ? ['revoked'] : [];
  const marks = [...(isPrivate ? ['private'] : []), ...state];
  const bar = one && first?.region != null ? [`BAR ${first.region}`] : [];
  const title = one
    ? `#${first?.inode} · ${bytes(total)}`
    : `${count(row.buffers.length, 'buffer')}, ${bytes(total)}`;
  return {
    ...PLAIN,
    id: rowId(row),
    kind: 'buffer',
    title,
    detail: [...marks, ...bar].join(', '),
    full: one
      ? `buffer ${first?.inode}, ${bytes(total)}, ${[first?.privacy, first?.state].join(', ')}`
      : `${row.buffers.length} buffers, ${bytes(total)}, ${[first?.privacy, first?.state].join(', ')}`,
    private: isPrivate,
    revoked: first?.state === 'revoked',
    inode: one ? (first?.inode ?? null) : null,
  };
}

/** Replaces the end of a text that is too long by an ellipsis. */
export function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, Math.max(1, length - 1))}…`;
}
