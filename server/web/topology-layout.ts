import { bytes, count, shorten } from './format.ts';
import type { Topology, TopologyEdge, TopologyNode, VmRef } from './types.ts';

/** Buffers that are drawn one by one; beyond, alike ones of a device are one. */
const SINGLY = 16;
/** Rows that are drawn so; beyond, those of a device that have the same state and privacy are one, and most devices too. */
const ROWS = 28;
const DEVICES = 6;
const IMPORTERS = 16;

const NODE = 38;
const GAP = 7;
const GROUP_GAP = 16;
const GROUP_HEAD = 24;
const PAD = 8;

type BufferNode = Extract<TopologyNode, { type: 'buffer' }>;
type ImportEdge = Extract<TopologyEdge, { type: 'import' }>;

export interface Box {
  id: string;
  kind: 'device' | 'buffer' | 'importer';
  x: number;
  y: number;
  width: number;
  height: number;
  title: string;
  detail: string;
  /** What stands in the title's tooltip. */
  full: string;
  private: boolean;
  revoked: boolean;
  bad: boolean;
  /** The one buffer that it is; null where it is more, or none. */
  inode: number | null;
}
export interface Line {
  from: string;
  to: string;
  path: string;
  /** Where it is broken, of a refused one. */
  broken: { x: number; y: number } | null;
  state: 'export' | 'mapped' | 'attached' | 'revoked' | 'refused';
  private: boolean;
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
export interface Picture {
  width: number;
  height: number;
  boxes: Box[];
  lines: Line[];
  groups: Group[];
  /** What is not drawn as it is, in words; empty where all is. */
  folded: string[];
}

/** Buffers of one device that look the same, and their importers. */
interface Row {
  device: string;
  buffers: BufferNode[];
  imports: ImportEdge[];
}

export function vmTitle(vm: VmRef): string {
  return `VM ${vm.name ?? vm.uuid ?? `of pid ${vm.pid}`}`;
}

/** Three layers, device, buffer and importer, with the VMs as frames around the first two. */
export function layoutTopology(
  topology: Topology,
  refusedExports: ReadonlyMap<string, number>,
  width: number,
): Picture {
  const nodes = new Map(topology.nodes.map((node) => [node.id, node]));
  const vmOf = new Map<string, VmRef>();
  const deviceOf = new Map<string, string>();
  const importsOf = new Map<string, ImportEdge[]>();
  for (const edge of topology.edges) {
    const from = nodes.get(edge.from);
    if (edge.type === 'assigned' && from?.type === 'vm') vmOf.set(edge.to, from.vm);
    if (edge.type === 'export') deviceOf.set(edge.to, edge.from);
    if (edge.type === 'import') importsOf.set(edge.from, [...(importsOf.get(edge.from) ?? []), edge]);
  }
  const folded: string[] = [];
  const importerIds = importantImporters(topology, folded);
  const rows = rowsOf(topology, deviceOf, importsOf, importerIds, folded);
  const drawn = new Set(rows.map(({ device }) => device));
  // A device of which nothing is left but that it was refused.
  const bare = drawn.has(OTHER_DEVICES)
    ? []
    : [...refusedExports.keys()].map((address) => `device:${address}`);
  const devices = [...new Set([...drawn, ...bare])];
  const groups = new Map<number, string[]>();
  for (const device of devices) {
    const pid = vmOf.get(device)?.pid ?? 0;
    groups.set(pid, [...(groups.get(pid) ?? []), device]);
  }

  const narrow = width < 560;
  const pad = narrow ? 5 : PAD;
  const inner = width - 2 * pad;
  // Where there is little room a device stands above its buffers, so that the lines to the importers keep theirs.
  const [deviceWidth, bufferWidth, importerWidth] = narrow
    ? [130, 124, 100]
    : [Math.min(190, inner * 0.24), Math.min(210, inner * 0.26), Math.min(190, inner * 0.24)];
  const deviceX = pad;
  const bufferX = narrow ? pad + 18 : pad + inner * 0.36;
  const importerX = width - importerWidth - (narrow ? 1 : pad);
  const letters = (space: number, size: number): number => Math.floor((space - (narrow ? 12 : 22)) / size);
  const big = narrow ? 6.3 : 7.4;
  const small = narrow ? 5.7 : 6.4;

  const picture: Picture = { width, height: 0, boxes: [], lines: [], groups: [], folded };
  const boxes = new Map<string, Box>();
  const add = (box: Box): void => {
    boxes.set(box.id, box);
    picture.boxes.push({
      ...box,
      title: shorten(box.title, letters(box.width, big)),
      detail: shorten(box.detail, letters(box.width, small)),
    });
  };
  let y = 0;
  // VMs first, then what belongs to none that is known.
  const order = [...groups].sort(([a], [b]) => Number(a === 0) - Number(b === 0));
  for (const [pid, members] of order) {
    if (y > 0) y += GROUP_GAP;
    const top = y;
    const vm = pid === 0 ? undefined : vmOf.get(members[0] ?? '');
    y += vm === undefined ? 0 : GROUP_HEAD;
    for (const [position, device] of members.entries()) {
      if (position > 0) y += GAP;
      const own = rows.filter((row) => row.device === device);
      const space = narrow ? NODE : Math.max(1, own.length) * (NODE + GAP) - GAP;
      const address = device === OTHER_DEVICES ? 'other devices' : device.replace(/^device:/, '');
      const refused = refusedExports.get(address) ?? 0;
      const exports = own.reduce((sum, { buffers }) => sum + buffers.length, 0);
      add({
        id: device,
        kind: 'device',
        x: deviceX,
        y: y + (space - NODE) / 2,
        width: deviceWidth,
        height: NODE,
        title: address,
        detail: refused > 0 ? `${count(refused, 'export')} refused` : count(exports, 'buffer'),
        full: `device ${address}: ${count(exports, 'buffer')}, ${count(refused, 'export')} refused`,
        private: false,
        revoked: false,
        bad: refused > 0,
        inode: null,
      });
      if (narrow && own.length > 0) y += NODE + GAP;
      for (const row of own) {
        add({ ...bufferBox(row), x: bufferX, y, width: bufferWidth, height: NODE });
        y += NODE + GAP;
      }
      y = own.length === 0 ? y + NODE : y - GAP;
    }
    if (vm !== undefined) {
      y += PAD;
      picture.groups.push({
        title: shorten(vmTitle(vm), letters(bufferX + bufferWidth, big)),
        full: vmTitle(vm),
        x: 0.5,
        y: top + 0.5,
        width: bufferX + bufferWidth + pad - 1,
        height: y - top - 1,
      });
    }
  }
  const imports = rows.flatMap((row) => row.imports.map((edge) => ({ row, edge })));
  const height = Math.max(
    y,
    placeImporters({ nodes, imports, boxes, add, x: importerX, width: importerWidth, height: y }),
  );
  picture.height = Math.ceil(height) + 1;

  const lines = new Set<string>();
  for (const row of rows) {
    const id = rowId(row);
    const key = `${row.device}>${id}`;
    const { private: isPrivate } = bufferBox(row);
    if (!lines.has(key))
      draw(row.device, id, 'export', isPrivate, `exports ${count(row.buffers.length, 'buffer')}`);
    lines.add(key);
    for (const edge of row.imports) {
      const state = edge.state === 'live' ? (edge.mapped ? 'mapped' : 'attached') : edge.state;
      const full = edge.state === 'refused' ? `refused: ${edge.reason}` : state;
      draw(id, edge.to, state, edge.private, full);
    }
  }
  function draw(from: string, to: string, state: Line['state'], isPrivate: boolean, full: string): void {
    const a = boxes.get(from);
    const b = boxes.get(to);
    if (a === undefined || b === undefined) return;
    const curve: Curve = [a.x + a.width, a.y + a.height / 2, b.x - 1, b.y + b.height / 2];
    // From a device that stands above, down along its left side.
    const below = narrow && state === 'export' ? `M${a.x + 8} ${a.y + NODE}V${curve[3]}H${b.x - 1}` : null;
    const gap = Math.min(0.1, BREAK_WIDTH / 2 / (curve[2] - curve[0]));
    const broken = state === 'refused' ? pointAt(curve, BREAK) : null;
    picture.lines.push({
      from,
      to,
      path:
        below ??
        (broken === null ? part(curve, 0, 1) : part(curve, 0, BREAK - gap) + part(curve, BREAK + gap, 1)),
      broken,
      state,
      private: isPrivate,
      full: `${a.full} → ${b.full}: ${full}`,
    });
  }
  return picture;
}

/** Ends of a line that leaves and arrives level. */
type Curve = readonly [x1: number, y1: number, x2: number, y2: number];

/** At this share of its way a refused line is broken: near the buffer, where lines do not cross yet. */
const BREAK = 0.28;
const BREAK_WIDTH = 20;

/** A point of the curve, by the three steps of de Casteljau; `t`, `u` and `v` are equal but where a part is cut out. */
function blossom([x1, y1, x2, y2]: Curve, t: number, u: number, v: number): { x: number; y: number } {
  const middle = (x1 + x2) / 2;
  const reckon = (a: number, b: number, c: number, d: number): number => {
    const mix = (from: number, to: number, share: number): number => from + (to - from) * share;
    return mix(mix(mix(a, b, t), mix(b, c, t), u), mix(mix(b, c, t), mix(c, d, t), u), v);
  };
  return { x: reckon(x1, middle, middle, x2), y: reckon(y1, y1, y2, y2) };
}
const pointAt = (curve: Curve, t: number): { x: number; y: number } => blossom(curve, t, t, t);

/** The part of the curve between two shares of it, as a path. */
function part(curve: Curve, from: number, to: number): string {
  const words = [
    blossom(curve, from, from, from),
    blossom(curve, from, from, to),
    blossom(curve, from, to, to),
    blossom(curve, to, to, to),
  ].map(({ x, y }) => `${round(x)} ${round(y)}`);
  return `M${words[0]}C${words.slice(1).join(' ')}`;
}

const round = (value: number): number => Math.round(value * 10) / 10;

/** The importers that are drawn as themselves; the others are one. */
function importantImporters(topology: Topology, folded: string[]): ReadonlySet<string> | null {
  const weight = new Map<string, number>();
  for (const edge of topology.edges) {
    if (edge.type !== 'import') continue;
    const grave = edge.state === 'refused' ? 100 : edge.private ? 50 : 1;
    weight.set(edge.to, (weight.get(edge.to) ?? 0) + grave);
  }
  if (weight.size <= IMPORTERS) return null;
  const shown = [...weight].sort((a, b) => b[1] - a[1]).slice(0, IMPORTERS - 1);
  folded.push(`${weight.size - shown.length} importers are drawn as one`);
  return new Set(shown.map(([id]) => id));
}

export const OTHERS = 'importer:others';
export const OTHER_DEVICES = 'device:others';

function rowsOf(
  topology: Topology,
  deviceOf: ReadonlyMap<string, string>,
  importsOf: ReadonlyMap<string, ImportEdge[]>,
  shown: ReadonlySet<string> | null,
  folded: string[],
): Row[] {
  const buffers = topology.nodes.filter((node): node is BufferNode => node.type === 'buffer');
  const rows = buffers.map(
    (node): Row => ({
      device: deviceOf.get(node.id) ?? 'device:unknown',
      buffers: [node],
      imports: (importsOf.get(node.id) ?? []).map((edge) =>
        shown === null || shown.has(edge.to) ? edge : { ...edge, to: OTHERS },
      ),
    }),
  );
  if (rows.length <= SINGLY) return rows;
  const all = rows.length.toLocaleString('en');
  const alike = merge(rows, ({ imports }) =>
    imports.map(({ to, state, mapped, reason }) => `${to} ${state} ${mapped} ${reason}`).sort(),
  );
  if (alike.length <= ROWS) {
    if (alike.length < rows.length)
      folded.push(`${all} buffers are drawn as ${alike.length}, alike ones as one`);
    return alike;
  }
  const weight = new Map<string, number>();
  for (const { device, buffers: own, imports } of alike) {
    const secret = own.filter(({ privacy }) => privacy === 'private').length;
    const refused = imports.filter(({ state }) => state === 'refused').length;
    weight.set(device, (weight.get(device) ?? 0) + 4 * secret + 2 * refused + own.length / 1000);
  }
  const kept = new Set(
    [...weight]
      .sort((a, b) => b[1] - a[1])
      .slice(0, DEVICES - 1)
      .map(([id]) => id),
  );
  if (weight.size > DEVICES) {
    for (const row of alike) if (!kept.has(row.device)) row.device = OTHER_DEVICES;
    folded.push(`${weight.size - kept.size} devices are drawn as one`);
  }
  const coarse = merge(alike, () => []);
  folded.push(
    `${all} buffers are drawn as ${coarse.length}, those of one state as one: a line is the worst of theirs`,
  );
  return coarse;
}

/** Makes one of the rows of a device that are of one state and privacy, and alike in what the key says. */
function merge(rows: readonly Row[], key: (row: Row) => readonly string[]): Row[] {
  const merged = new Map<string, Row>();
  for (const row of rows) {
    const [first] = row.buffers;
    const id = JSON.stringify([row.device, first?.state, first?.privacy, key(row)]);
    const known = merged.get(id);
    if (known === undefined) merged.set(id, row);
    else {
      known.buffers.push(...row.buffers);
      known.imports = worstOf([...known.imports, ...row.imports]);
    }
  }
  return [...merged.values()];
}

const RANK = { refused: 0, live: 1, revoked: 2 } as const;

/** One edge for each importer. */
function worstOf(edges: readonly ImportEdge[]): ImportEdge[] {
  const worst = new Map<string, ImportEdge>();
  for (const edge of edges) {
    const known = worst.get(edge.to);
    if (
      known === undefined ||
      RANK[edge.state] < RANK[known.state] ||
      (edge.state === known.state && edge.mapped)
    )
      worst.set(edge.to, edge);
  }
  return [...worst.values()];
}

function rowId({ buffers }: Row): string {
  return buffers[0]?.id ?? '';
}

function bufferBox(row: Row): Omit<Box, 'x' | 'y' | 'width' | 'height'> {
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
    id: rowId(row),
    kind: 'buffer',
    title,
    detail: [...marks, ...bar].join(', '),
    full: one
      ? `buffer ${first?.inode}, ${bytes(total)}, ${[first?.privacy, first?.state].join(', ')}`
      : `${row.buffers.length} buffers, ${bytes(total)}, ${[first?.privacy, first?.state].join(', ')}`,
    private: isPrivate,
    revoked: first?.state === 'revoked',
    bad: false,
    inode: one ? (first?.inode ?? null) : null,
  };
}

interface Placing {
  nodes: ReadonlyMap<string, TopologyNode>;
  imports: readonly { row: Row; edge: ImportEdge }[];
  boxes: ReadonlyMap<string, Box>;
  add: (box: Box) => void;
  x: number;
  width: number;
  height: number;
}

/** The importers in the order of their buffers, evenly over the height; gives where the last one ends. */
function placeImporters({ nodes, imports, boxes, add, x, width, height }: Placing): number {
  const ys = new Map<string, number[]>();
  for (const { row, edge } of imports) {
    const box = boxes.get(rowId(row));
    if (box !== undefined) ys.set(edge.to, [...(ys.get(edge.to) ?? []), box.y]);
  }
  const wanted = [...ys]
    .map(([id, list]) => ({ id, y: list.reduce((sum, value) => sum + value, 0) / list.length }))
    .sort((a, b) => a.y - b.y);
  const room = Math.max(height, wanted.length * (NODE + GAP) - GAP);
  wanted.forEach(({ id }, index) => {
    const at = ((index + 0.5) * room) / wanted.length - NODE / 2;
    const node = nodes.get(id);
    const [title, device] =
      node?.type === 'importer' ? [node.importer, node.importer_device] : ['other importers', ''];
    add({
      id,
      kind: 'importer',
      x,
      y: at,
      width,
      height: NODE,
      title,
      detail: device === title ? '' : device,
      full: device === title || device === '' ? title : `${title} (${device})`,
      private: false,
      revoked: false,
      bad: false,
      inode: null,
    });
  });
  return room;
}
