import type { BufferView, Incident, Status } from '../../model/schema.ts';
import type { Picture, Rejection } from './picture.ts';
import { bufferColumns, INCIDENT_COLUMNS, isVm, refusalColumns, vmOf } from './rows.ts';
import { type Column, layOut } from './table.ts';
import { ageInWords, fit, neutral } from './text.ts';
import type { View } from './view.ts';

export type Style = 'plain' | 'bold' | 'dim' | 'good' | 'warning' | 'loud';

export interface Line {
  text: string;
  style: Style;
}

export interface FrameInput {
  url: string;
  picture: Picture;
  view: View;
  /** What --vm asks for, in lower case. */
  vm: string | undefined;
  /** The clock by which ages are told, and that of the wall. */
  nowMs: number;
  wallMs: number;
  /** Since when, and why, nothing new comes; undefined while it does. */
  lost: { sinceMs: number; why: string; againMs: number } | undefined;
}

/** A screen, and how far its table can be scrolled. */
export interface Frame {
  lines: Line[];
  page: number;
  last: number;
}

const HELP = [
  'q, Ctrl-C     quit',
  '/             type a filter: rows that contain it stay; Enter keeps it, Esc clears it',
  'arrows, j, k  scroll by a row; PgUp, PgDn by a screen; Home, End to an end',
  '?             this; ? or Esc goes back',
  '',
  'A revoked buffer cannot be mapped now. `N lost`: iommufd mappings that are dead since a revocation.',
  'A wider terminal shows more columns. `vfio-dmabuf-tracer reasons NAME` says more of a reason.',
];
const MOST_INCIDENTS = 4;
const line = (text: string, style: Style = 'plain'): Line => ({ text, style });

/** The whole screen: what is wrong first, then the buffers with what room there is, then the newest refusals. */
export function drawFrame(input: FrameInput, columns: number, rows: number): Frame {
  const { view, picture } = input;
  const head = headline(input, columns);
  const footer = line(fit(footerOf(view), columns), 'dim');
  const body = Math.max(0, rows - head.length - 1);
  if (view.help) {
    const help = HELP.slice(0, body).map((text) => line(fit(text, columns)));
    return { lines: filled([...head, ...help], rows - 1, footer), page: 1, last: 0 };
  }
  const shown = select(input);
  const incidents = section(
    'Open incidents',
    shown.incidents,
    INCIDENT_COLUMNS,
    columns,
    picture.incidents.open,
  );
  const refusals = section('Newest refusals', shown.rejections, refusalColumns(picture.sentences), columns);
  const buffers = section('Buffers', shown.buffers, bufferColumns(input.nowMs), columns, picture.total);

  const top =
    shown.incidents.length === 0 ? [] : cut(incidents, Math.min(MOST_INCIDENTS + 2, Math.floor(body / 3)));
  const bottom = cut(refusals, Math.max(3, Math.floor(body / 4)));
  // Title and header stay where the rows are scrolled.
  const page = Math.max(0, body - top.length - bottom.length - 2);
  const last = Math.max(0, shown.buffers.length - page);
  const scroll = Math.min(view.scroll, last);
  const table = [...buffers.slice(0, 2), ...buffers.slice(2 + scroll, 2 + scroll + page)];
  while (table.length < page + 2) table.push(line(''));
  return {
    lines: filled([...head, ...top, ...table, ...bottom].slice(0, rows - 1), rows - 1, footer),
    page,
    last,
  };
}

/** Everything, once and whole, for what is no terminal. */
export function drawAll(input: FrameInput): Line[] {
  const { picture } = input;
  const width = 1000;
  const shown = select(input);
  return [
    ...headline(input, width),
    line(''),
    ...section('Open incidents', shown.incidents, INCIDENT_COLUMNS, width, picture.incidents.open),
    line(''),
    ...section('Buffers', shown.buffers, bufferColumns(input.nowMs), width, picture.total),
    line(''),
    ...section('Newest refusals', shown.rejections, refusalColumns(picture.sentences), width),
  ].map(({ text, style }) => ({ text: text.trimEnd(), style }));
}

function filled(lines: Line[], rows: number, footer: Line): Line[] {
  while (lines.length < rows) lines.push(line(''));
  return [...lines, footer];
}

/** So many lines of a section; the last one says how many more there are. */
function cut(lines: Line[], most: number): Line[] {
  if (lines.length <= most) return lines;
  const kept = lines.slice(0, Math.max(0, most - 1));
  return [...kept, line(`  and ${lines.length - kept.length} more`, 'dim')].slice(0, most);
}

function section<Row>(
  title: string,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width: number,
  total: number = rows.length,
): Line[] {
  const count = rows.length === total ? String(total) : `${rows.length} of ${total}`;
  const heading = line(fit(`${title} (${count})`, width), 'bold');
  if (rows.length === 0) return [heading, line(fit('  none', width), 'dim')];
  const table = layOut(columns, rows, width);
  return [
    heading,
    line(table.header, 'dim'),
    ...table.rows.map((text, index) => line(text, styleOf(rows[index]))),
  ];
}

function styleOf(row: unknown): Style {
  const { state, severity } = row as Partial<BufferView & Incident>;
  if (severity === 'critical') return 'loud';
  if (severity === 'warning') return 'warning';
  return state === 'revoked' ? 'dim' : 'plain';
}

interface Selected {
  buffers: BufferView[];
  incidents: Incident[];
  rejections: Rejection[];
}

/** What --vm and the filter leave; a filter is looked for in all that a row could show. */
function select({ picture, view, vm, nowMs }: FrameInput): Selected {
  const wanted = view.filter.toLowerCase();
  const matches = <Row>(columns: readonly Column<Row>[], row: Row, more = '') =>
    wanted === '' ||
    [...columns.map(({ text }) => text(row)), more].some((text) => text.toLowerCase().includes(wanted));
  const ofVm = (row: { vm?: Incident['vm']; by_vm?: Incident['vm'] }) =>
    vm === undefined || isVm(row.vm ?? null, vm) || isVm(row.by_vm ?? null, vm);
  const buffers = bufferColumns(nowMs);
  const refusals = refusalColumns(picture.sentences);
  return {
    buffers: picture.buffers.filter((row) => ofVm(row) && matches(buffers, row)),
    incidents: picture.incidents.incidents.filter(
      (row) => ofVm(row) && matches(INCIDENT_COLUMNS, row, `${row.device} ${vmOf(row.vm)}`),
    ),
    rejections: picture.rejections.filter((row) => ofVm(row) && matches(refusals, row)),
  };
}

function headline({ url, picture, lost, wallMs, view }: FrameInput, columns: number): Line[] {
  const { status, readiness } = picture;
  const lines = [
    line(`vfio-dmabuf-tracer ${status.version} at ${url}`, 'bold'),
    stateOf(status, readiness),
    ...(status.simulation === null
      ? []
      : [line(`SIMULATED: ${status.simulation}: not everything here is real`, 'loud')]),
    ...lossesOf(status).map((text) => line(text, 'loud')),
  ];
  const { live, revoked } = status.buffers;
  const incidents = picture.incidents.open;
  const counts = `${live} live, ${revoked} revoked, ${incidents} open ${incidents === 1 ? 'incident' : 'incidents'}`;
  lines.push(line(view.filter === '' ? counts : `${counts}; filter: ${neutral(view.filter)}`));
  if (lost !== undefined) {
    const since = new Date(lost.sinceMs).toISOString().slice(11, 19);
    const ago = ageInWords(wallMs - lost.sinceMs);
    const again = lost.againMs <= 0 ? 'trying again' : `again in ${Math.ceil(lost.againMs / 1000)} s`;
    lines.push(line(`CONNECTION LOST at ${since}Z, ${ago} ago (${again}): ${lost.why}; this is old`, 'loud'));
  }
  return lines.map(({ text, style }) => line(fit(neutral(text), columns), style));
}

function stateOf(status: Status, readiness: string): Line {
  const { source, kernel, dialect, state } = status;
  const where = `kernel ${kernel ?? 'not known yet'}, dialect ${dialect}`;
  const isReady = readiness === 'ready';
  if (source.kind === 'replay') {
    const read = isReady ? '' : ', still being read';
    return line(`REPLAY of ${source.name}: not this host, not now${read}; ${where}`, 'warning');
  }
  if (isReady) return line(`TRACING; ${where}`, 'good');
  return line(
    `${state === 'tracing' ? 'NOT READY' : 'BLIND'}: ${readiness.replace(/^not ready: /, '')}; ${where}`,
    'loud',
  );
}

/** What was not seen, as sentences; nothing where all was. */
function lossesOf(status: Status): string[] {
  const losses = Object.entries(status.losses).filter(([, count]) => count > 0);
  const sum = losses.reduce((all, [, count]) => all + count, 0);
  const told = [];
  if (sum > 0) {
    told.push(`LOST: ${sum} (${losses.map(([stage, count]) => `${stage} ${count}`).join(', ')})`);
  }
  if (status.decode_errors > 0) told.push(`UNREADABLE: ${status.decode_errors} lines of the stream`);
  if (!status.picture_exact) told.push('NOT EXACT: something was missed; buffers may be missing, or be gone');
  return told;
}

function footerOf(view: View): string {
  if (view.typing) return `/${neutral(view.filter)}_`;
  return view.help ? '? back  q quit' : 'q quit  / filter  ? help  arrows, PgUp, PgDn scroll';
}
