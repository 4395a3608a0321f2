import { number } from '../../src/contract/format.ts';
import type { Sharing, TopologyEdge, TopologyNode } from '../data/types.ts';

/** Up to this many buffers are drawn one by one; beyond it, similar ones of a device are folded. */
const SINGLY = 16;
/** Most rows after that folding; beyond it, rows of a device with the same state and privacy are folded, and most devices too. */
const ROWS = 28;
const DEVICES = 6;
const IMPORTERS = 16;

export type BufferNode = Extract<TopologyNode, { type: 'buffer' }>;
export type ImportEdge = Extract<TopologyEdge, { type: 'import' }>;

/** Buffers of one device that are drawn as one box, and their importers. */
export interface Row {
  device: string;
  buffers: BufferNode[];
  imports: ImportEdge[];
}

export const OTHERS = 'importer:others';
export const OTHER_DEVICES = 'device:others';

/** Most importers that are drawn; the others are folded into one. */
function importantImporters(topology: Sharing, folded: string[]): ReadonlySet<string> | null {
  const weight = new Map<string, number>();
  for (const edge of topology.edges) {
    if (edge.type !== 'import') continue;
    const grave = edge.state === 'rejected' ? 100 : edge.private ? 50 : 1;
    weight.set(edge.to, (weight.get(edge.to) ?? 0) + grave);
  }
  if (weight.size <= IMPORTERS) return null;
  const shown = [...weight].sort((a, b) => b[1] - a[1]).slice(0, IMPORTERS - 1);
  folded.push(`${weight.size - shown.length} importers are drawn as one`);
  return new Set(shown.map(([id]) => id));
}

/** The rows of the graph, and sentences about what was folded. */
export function topologyRows(topology: Sharing, folded: string[]): Row[] {
  const deviceOf = new Map<string, string>();
  const importsOf = new Map<string, ImportEdge[]>();
  const shown = importantImporters(topology, folded);
  for (const edge of topology.edges) {
    if (edge.type === 'export') deviceOf.set(edge.to, edge.from);
    if (edge.type !== 'import') continue;
    const known = importsOf.get(edge.from) ?? [];
    const drawn = shown === null || shown.has(edge.to) ? edge : { ...edge, to: OTHERS };
    importsOf.set(edge.from, [...known, drawn]);
  }
  const rows = topology.nodes.flatMap((node): Row[] => {
    if (node.type !== 'buffer') return [];
    const device = deviceOf.get(node.id) ?? 'device:unknown';
    return [{ device, buffers: [node], imports: importsOf.get(node.id) ?? [] }];
  });
  if (rows.length <= SINGLY) return rows;
  const all = number(rows.length);
  const alike = merge(rows, ({ imports }) =>
    imports
      .map(({ to, state, mapped, route, reason }) => `${to} ${state} ${mapped} ${route} ${reason}`)
      .sort(),
  );
  if (alike.length <= ROWS) {
    if (alike.length < rows.length)
      folded.push(`${all} buffers are drawn as ${alike.length}, alike ones as one`);
    return alike;
  }
  const weight = new Map<string, number>();
  for (const { device, buffers: own, imports } of alike) {
    const secret = own.filter(({ privacy }) => privacy === 'private').length;
    const rejected = imports.filter(({ state }) => state === 'rejected').length;
    weight.set(device, (weight.get(device) ?? 0) + 4 * secret + 2 * rejected + own.length / 1000);
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

/** Folds the rows of a device that have the same state, privacy and key. */
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

const RANK = { rejected: 0, live: 1, revoked: 2 } as const;

/** Merges edges: one for each importer. */
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
