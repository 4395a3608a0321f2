import { useComputed, useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { bytes, count, number } from '../../src/contract/format.ts';
import { idleDeviceText, vmTitle } from '../../src/contract/names.ts';
import { ROUTE_SENTENCE, ROUTE_TEXT } from '../../src/contract/routes.ts';
import { covers, knowledgeOf, NO_EXPORT } from '../data/knowledge.ts';
import type { PageStore } from '../data/page-store.ts';
import type { Topology } from '../data/types.ts';
import { Section } from '../parts/section.tsx';
import { type Box, type Graph, LABEL_X, LABEL_Y, type Line, layoutTopology } from './topology-layout.ts';

/** Rows of the table; the table of buffers has all buffers. */
const TEXT_ROWS = 200;

export function TopologySection({ store }: { store: PageStore }) {
  const width = useSignal(0);
  const frame = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const { current } = frame;
    if (current === null) return;
    width.value = current.clientWidth;
    const observer = new ResizeObserver(() => {
      width.value = current.clientWidth;
    });
    observer.observe(current);
    return () => observer.disconnect();
  }, [width]);
  const rejected = useComputed(() => {
    const counts = new Map<string, number>();
    for (const { device, count: number } of store.rejections.value?.counts.exports ?? [])
      counts.set(device, (counts.get(device) ?? 0) + number);
    return counts;
  });
  const layout = useComputed(() =>
    width.value === 0 ? null : layoutTopology(store.topology.value, rejected.value, width.value),
  );
  const known = useComputed(() => knowledgeOf(store.status.value)).value;
  const complete = useComputed(() => covers(store.status.value, 'importers')).value;
  const drawn = layout.value;
  const empty = drawn !== null && drawn.boxes.length === 0;
  return (
    <Section
      id="topology"
      title="Who shares with whom"
      note={known === 'never' ? 'not known' : headOf(store.topology.value, complete)}
    >
      <div ref={frame} class="graph">
        {empty && <p class="empty">{NO_EXPORT[known]}</p>}
        {drawn !== null && !empty && <Drawing layout={drawn} store={store} />}
      </div>
      <IdleDevices devices={store.topology.value.idle_devices} />
      {drawn !== null && !empty && (
        <>
          {drawn.folded.length > 0 && <p class="more">Folded: {drawn.folded.join('; ')}.</p>}
          <Legend />
          <Routes topology={store.topology.value} />
          <AsText topology={store.topology.value} store={store} />
        </>
      )}
    </Section>
  );
}

/** The most devices that are named. */
const IDLE_SHOWN = 8;

/** Open devices without a buffer. A VM needs no peer-to-peer DMA, so this is not a warning. */
function IdleDevices({ devices }: { devices: Topology['idle_devices'] }) {
  const [first] = devices;
  if (first === undefined) return null;
  const named = devices.slice(0, IDLE_SHOWN).map(idleDeviceText);
  const more = devices.length - named.length;
  return (
    <p class="more">
      Devices that a process has open without an export (read at {first.at}):{' '}
      {[...named, ...(more > 0 ? [`and ${more} more`] : [])].join('; ')}.
    </p>
  );
}

function headOf(topology: Topology, complete: boolean): string {
  const number = (type: string): number => topology.nodes.filter((node) => node.type === type).length;
  const importers = number('importer');
  return [
    count(number('device'), 'device'),
    count(number('buffer'), 'buffer'),
    importers === 0 && !complete ? 'importers not traced' : count(importers, 'importer'),
  ].join(' → ');
}

/** Hidden from screen readers, which get the table below it. */
function Drawing({ layout, store }: { layout: Graph; store: PageStore }) {
  return (
    <svg
      width={layout.width}
      height={layout.height}
      viewBox={`0 0 ${layout.width} ${layout.height}`}
      aria-hidden="true"
    >
      {layout.groups.map((group) => (
        <g key={group.full} class="group">
          <title>{group.full}</title>
          <rect x={group.x} y={group.y} width={group.width} height={group.height} rx="8" />
          <text x={group.x + 10} y={group.y + 16}>
            {group.title}
          </text>
        </g>
      ))}
      {layout.lines.map((line) => (
        <Edge key={`${line.from} ${line.to}`} line={line} />
      ))}
      {layout.lines.map((line) => (
        <Reason key={`${line.from} ${line.to}`} line={line} />
      ))}
      {layout.boxes.map((box) => (
        <Node key={box.id} box={box} store={store} />
      ))}
    </svg>
  );
}

function Edge({ line }: { line: Line }) {
  const { broken } = line;
  return (
    <g class={`edge ${line.state}${line.private ? ' private' : ''}`}>
      <title>{line.full}</title>
      <path d={line.path} />
      {broken !== null && <path class="cross" d={`M${broken.x - 4} ${broken.y - 4}l8 8m0-8l-8 8`} />}
    </g>
  );
}

/** Drawn after all lines, so that no line crosses the text. */
function Reason({ line: { broken, label, full } }: { line: Line }) {
  if (broken === null || label === '') return null;
  return (
    <text class="edge-reason" x={broken.x + LABEL_X} y={broken.y + LABEL_Y}>
      <title>{full}</title>
      {label}
    </text>
  );
}

function Node({ box, store }: { box: Box; store: PageStore }) {
  const { x, y, width, height, inode } = box;
  const two = box.detail !== '';
  const marks = `${box.private ? ' private' : ''}${box.revoked ? ' revoked' : ''}${box.bad ? ' bad' : ''}`;
  return (
    // The table below the graph and the table of buffers offer the same to the keyboard.
    // biome-ignore lint/a11y/noStaticElementInteractions: see above
    <g
      class={`node ${box.kind}${marks}${inode === null ? '' : ' opens'}`}
      onClick={inode === null ? undefined : () => store.show({ buffer: inode })}
    >
      <title>{box.full}</title>
      <rect x={x} y={y} width={width} height={height} rx="6" />
      {box.private && (
        <path class="lock" d={`M${x + width - 17} ${y + 10}h10v8h-10zm2 0v-2a3 3 0 0 1 6 0v2`} />
      )}
      <text x={x + 9} y={y + (two ? 17 : 25)} class="title">
        {box.title}
      </text>
      {two && (
        <text x={x + 9} y={y + 32} class="detail">
          {box.detail}
        </text>
      )}
    </g>
  );
}

const LEGEND = [
  ['mapped', 'mapped'],
  ['attached', 'attached only'],
  ['revoked', 'revoked'],
  ['rejected', 'rejected'],
] as const;

function Legend() {
  return (
    <ul class="legend" aria-label="Lines of the graph">
      {LEGEND.map(([state, label]) => (
        <li key={state}>
          <svg width="36" height="12" aria-hidden="true" class={`edge ${state}`}>
            <path d={state === 'rejected' ? 'M1 6H13M23 6H35' : 'M1 6H35'} />
            {state === 'rejected' && <path class="cross" d="M14 2l8 8m0-8l-8 8" />}
          </svg>
          {label}
        </li>
      ))}
      <li>
        <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true" class="node private">
          <path class="lock" d="M2 6h10v7h-10zm2 0v-2a3 3 0 0 1 6 0v2" />
        </svg>
        private
      </li>
    </ul>
  );
}

/** What the routes of the drawn mappings mean. */
function Routes({ topology }: { topology: Topology }) {
  const drawn = new Set<string | null>(
    topology.edges.map((edge) => (edge.type === 'import' ? edge.route : null)),
  );
  const sentences = Object.entries(ROUTE_SENTENCE).flatMap(([route, text]) =>
    drawn.has(route) ? [text] : [],
  );
  return sentences.length === 0 ? null : <p class="more">Routes of mappings. {sentences.join(' ')}</p>;
}

function AsText({ topology, store }: { topology: Topology; store: PageStore }) {
  const open = useSignal(false);
  return (
    <details class="as-text" onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>The graph as a table</summary>
      {open.value && <TextTable topology={topology} store={store} />}
    </details>
  );
}

function TextTable({ topology, store }: { topology: Topology; store: PageStore }) {
  const rows = textRows(topology);
  return (
    <div class="scroll-x">
      <table>
        <thead>
          <tr>
            {['VM', 'Device', 'Buffer', 'Importer', 'State', 'Route'].map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, TEXT_ROWS).map((row) => (
            <tr key={row.key}>
              <td>{row.vm}</td>
              <td>{row.device}</td>
              <td>
                <button type="button" class="link" onClick={() => store.show({ buffer: row.inode })}>
                  {row.buffer}
                </button>
              </td>
              <td>{row.importer}</td>
              <td>{row.state}</td>
              <td>{row.route}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > TEXT_ROWS && (
        <p class="more">
          The first {TEXT_ROWS} of {number(rows.length)}; the table of buffers has them all.
        </p>
      )}
    </div>
  );
}

interface TextRow {
  key: string;
  vm: string;
  device: string;
  inode: number;
  buffer: string;
  importer: string;
  state: string;
  route: string;
}

function textRows({ nodes, edges }: Topology): TextRow[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const vms = new Map<string, string>();
  const devices = new Map<string, string>();
  for (const { type, from, to } of edges) {
    const node = byId.get(from);
    if (type === 'assigned' && node?.type === 'vm') vms.set(to, vmTitle(node.vm));
    if (type === 'export') devices.set(to, from);
  }
  const imports = new Map<string, Topology['edges']>();
  for (const edge of edges)
    if (edge.type === 'import') imports.set(edge.from, [...(imports.get(edge.from) ?? []), edge]);
  return nodes.flatMap((node) => {
    if (node.type !== 'buffer') return [];
    const device = devices.get(node.id) ?? '';
    const common = {
      vm: vms.get(device) ?? 'none known',
      device: device.replace('device:', ''),
      inode: node.inode,
      buffer: `${node.inode}, ${bytes(node.bytes)}, ${node.privacy}`,
    };
    const own = imports.get(node.id) ?? [];
    if (own.length === 0)
      return [{ ...common, key: node.id, importer: 'none', state: node.state, route: '' }];
    return own.flatMap((edge) => {
      if (edge.type !== 'import') return [];
      const { state, mapped, route, reason } = edge;
      const label =
        state === 'rejected' ? `rejected: ${reason}` : state === 'live' && mapped ? 'mapped' : state;
      return [
        {
          ...common,
          key: `${node.id} ${edge.to}`,
          importer: edge.to.replace('importer:', '').replace('/', ', '),
          state: label === 'live' ? 'attached' : label,
          route: route === null ? '' : ROUTE_TEXT[route] || 'unknown',
        },
      ];
    });
  });
}
