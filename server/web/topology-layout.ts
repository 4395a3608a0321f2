import { bytes, count, shorten } from './format.ts';
import type { Topology, TopologyEdge, TopologyNode, VmRef } from './types.ts';

/** Buffers that are drawn one by one; beyond, alike ones of a device are drawn as one. */
const SINGLY = 24;
const ROWS = 40;
const IMPORTERS = 16;

const NODE = 40;
const GAP = 8;
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
  middle: { x: number; y: number };
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
  const devices = [...new Set([...rows.map(({ device }) => device), ...idsOf(refusedExports)])];
  const groups = new Map<number, string[]>();
  for (const device of devices) {
    const pid = vmOf.get(device)?.pid ?? 0;
    groups.set(pid, [...(groups.get(pid) ?? []), device]);
  }

  const narrow = width < 560;
  const pad = narrow ? 5 : PAD;
  const inner = width - 2 * pad;
  const [deviceWidth, bufferWidth, importerWidth] = narrow
    ? [inner * 0.3, inner * 0.3, inner * 0.28]
    : [Math.min(190, inner * 0.24), Math.min(210, inner * 0.26), Math.min(190, inner * 0.24)];
  const deviceX = pad;
  const bufferX = narrow ? pad + inner * 0.37 : pad + inner * 0.36;
  const importerX = width - importerWidth - (narrow ? 0 : pad);
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
      const space = Math.max(1, own.length) * (NODE + GAP) - GAP;
      const address = device.replace(/^device:/, '');
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
        detail: refused > 0 ? `${refused} refused` : count(exports, 'buffer'),
        full: `device ${address}: ${count(exports, 'buffer')}, ${count(refused, 'export')} refused`,
        private: false,
        revoked: false,
        bad: refused > 0,
        inode: null,
      });
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
    const [x1, y1, x2, y2] = [a.x + a.width, a.y + a.height / 2, b.x - 1, b.y + b.height / 2];
    const bend = (x2 - x1) / 2;
    picture.lines.push({
      from,
      to,
      path: `M${round(x1)} ${round(y1)}C${round(x1 + bend)} ${round(y1)} ${round(x2 - bend)} ${round(y2)} ${round(x2)} ${round(y2)}`,
      middle: { x: (x1 + x2) / 2, y: (y1 + y2) / 2 },
      state,
      private: isPrivate,
      full: `${a.full} → ${b.full}: ${full}`,
    });
  }
  return picture;
}

const round = (value: number): number => Math.round(value * 10) / 10;
const idsOf = (refused: ReadonlyMap<string, number>): string[] =>
  [...refused.keys()].map((address) => `device:${address}`);

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

function rowsOf(
  topology: Topology,
  deviceOf: ReadonlyMap<string, string>,
  importsOf: ReadonlyMap<string, ImportEdge[]>,
  shown: ReadonlySet<string> | null,
  folded: string[],
): Row[] {
  const buffers = topology.nodes.filter((node): node is BufferNode => node.type === 'buffer');
  const rowOf = (node: BufferNode): Row => ({
    device: deviceOf.get(node.id) ?? 'device:unknown',
    buffers: [node],
    imports: (importsOf.get(node.id) ?? []).map((edge) =>
      shown === null || shown.has(edge.to) ? edge : { ...edge, to: OTHERS },
    ),
  });
  if (buffers.length <= SINGLY) return buffers.map(rowOf);
  const alike = new Map<string, Row>();
  for (const node of buffers) {
    const row = rowOf(node);
    const key = JSON.stringify([
      row.device,
      node.state,
      node.privacy,
      row.imports.map(({ to, state, mapped, reason }) => [to, state, mapped, reason]).sort(),
    ]);
    const known = alike.get(key);
    if (known === undefined) alike.set(key, row);
    else known.buffers.push(node);
  }
  if (alike.size < buffers.length)
    folded.push(
      `${buffers.length.toLocaleString('en')} buffers are drawn as ${alike.size}: alike ones of a device are one`,
    );
  const rows = [...alike.values()];
  if (rows.length > ROWS) {
    const grave = (row: Row): number =>
      (row.imports.some(({ state }) => state === 'refused') ? 4 : 0) +
      (row.buffers[0]?.privacy === 'private' ? 2 : 0) +
      (row.buffers[0]?.state === 'revoked' ? 1 : 0);
    rows.sort((a, b) => grave(b) - grave(a));
    const left = rows.splice(ROWS);
    const missing = left.reduce((sum, row) => sum + row.buffers.length, 0);
    folded.push(
      `${count(missing, 'buffer')} of ${count(new Set(left.map(({ device }) => device)).size, 'device')} are not drawn: the table has them`,
    );
  }
  return rows;
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
    ? `#${first?.inode} ${bytes(total)}`
    : `${row.buffers.length} × ${bytes(total / row.buffers.length)}`;
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

/** Each importer at the mean height of its buffers, as far as the others leave room; gives where the last one ends. */
function placeImporters({ nodes, imports, boxes, add, x, width, height }: Placing): number {
  const ys = new Map<string, number[]>();
  for (const { row, edge } of imports) {
    const box = boxes.get(rowId(row));
    if (box !== undefined) ys.set(edge.to, [...(ys.get(edge.to) ?? []), box.y]);
  }
  const wanted = [...ys]
    .map(([id, list]) => ({ id, y: list.reduce((sum, value) => sum + value, 0) / list.length }))
    .sort((a, b) => a.y - b.y);
  const step = NODE + GAP;
  const room = Math.max(height, wanted.length * step - GAP);
  let free = 0;
  wanted.forEach(({ id, y }, index) => {
    // Those below need their place too.
    const last = room - (wanted.length - index) * step + GAP;
    const at = Math.max(free, Math.min(y, last));
    free = at + step;
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
  return free - GAP;
}
