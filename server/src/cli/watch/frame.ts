import type { BufferView } from '../../contract/buffers.ts';
import type { VmRef } from '../../contract/fields.ts';
import { age, clock, count } from '../../contract/format.ts';
import type { Incident } from '../../contract/incidents.ts';
import { vmName } from '../../contract/names.ts';
import { blindSentence } from '../../contract/texts.ts';
import { type Level, REASONS_SHOWN, verdictOf } from '../../contract/verdict.ts';
import { fit, fold } from '../text.ts';
import type { DaemonState, Status } from './daemon-state.ts';
import { bufferColumns, incidentColumns, isVm, rejectionColumns } from './rows.ts';
import { type Column, cellOf, layOut, type Table } from './table.ts';
import type { View } from './view.ts';

export type Style = 'plain' | 'bold' | 'dim' | 'good' | 'warning' | 'loud';

export interface Line {
  text: string;
  style: Style;
}

export interface FrameInput {
  url: string;
  daemon: DaemonState;
  view: View;
  /** Text of --vm in lower case. */
  vm: string | undefined;
  /** Time from which ages are computed, in milliseconds since 1970: for a recording, its last time. */
  nowMs: number;
  /** Wall clock, in milliseconds since 1970. */
  wallMs: number;
  /** Start and cause of the lost connection; undefined while connected. */
  lost: { sinceMs: number; why: string; againMs: number } | undefined;
}

/** Lines of one screen, the visible rows of its table (`page`), and the last scroll position. */
export interface Frame {
  lines: Line[];
  page: number;
  last: number;
}

const HELP = [
  'q, Ctrl-C     quit',
  '/             type a filter that rows must contain; Enter keeps it, Esc clears it',
  'arrows, j, k  scroll by a row; PgUp, PgDn by a screen; Home, End to the first or last row',
  '?             show this help; ? or Esc closes it',
  '',
  'A revoked buffer cannot be mapped now. `N lost`: iommufd mappings that a revocation removed.',
  'A wider terminal shows more columns. `vfio-dmabuf-tracer watch --help` explains them,',
  '`vfio-dmabuf-tracer reasons NAME` explains a reason.',
];
const MOST_INCIDENTS = 4;
function line(text: string, style: Style = 'plain'): Line {
  return { text, style };
}

/** Draws the screen: problems first, then the buffers, then the newest rejections. The buffers get the remaining rows. */
export function drawFrame(input: FrameInput, columns: number, rows: number): Frame {
  const { view } = input;
  const head = headline(input);
  const footer = line(footerOf(view), 'dim');
  const body = Math.max(0, rows - head.length - 1);
  // Each line is padded to the width of the screen, so that it overwrites the previous frame.
  const on = (lines: Line[]) =>
    [...filled(lines, rows - 1), footer].map(({ text, style }) => line(fit(text, columns), style));
  if (view.help) {
    const help = HELP.flatMap((text) => fold(text, columns).map((part) => line(part)));
    return { lines: on([...head, ...help]), page: 1, last: 0 };
  }
  const { incidents, buffers, rejections } = sectionsOf(input);
  const most = incidents.rows.length === 0 ? 0 : Math.min(MOST_INCIDENTS, Math.floor(body / 3) - 1);
  const top = most < 1 ? [] : withoutHeader(incidents, columns, most);
  const bottom = withoutHeader(rejections, columns, Math.max(1, Math.floor(body / 4) - 1));
  // Scrolling does not move the title and the header.
  const page = Math.max(0, body - top.length - bottom.length - 2);
  const last = Math.max(0, buffers.rows.length - page);
  const scroll = Math.min(view.scroll, last);
  const place = last === 0 ? '' : `, rows ${scroll + 1} to ${scroll + page}`;
  const { header, rows: table } = buffers.table(columns, scroll, page);
  const middle = [
    line(`${titleOf(buffers, buffers.rows.length)}${place}`, 'bold'),
    ...(buffers.rows.length === 0 ? [line('  none', 'dim')] : [line(header, 'dim')]),
    ...styled(buffers, table, scroll),
  ];
  return { lines: on([...head, ...top, ...filled(middle, page + 2), ...bottom]), page, last };
}

/** All lines in full width, for an output that is not a terminal. */
export function drawAll(input: FrameInput): Line[] {
  const width = 1000;
  const { incidents, buffers, rejections } = sectionsOf(input);
  const blocks = [headline(input), ...[incidents, buffers, rejections].map((one) => withHeader(one, width))];
  return blocks.flatMap((block, index) => (index === 0 ? block : [line(''), ...block]));
}

/** Cuts or pads to this number of lines. */
function filled(lines: readonly Line[], rows: number): Line[] {
  return Array.from({ length: Math.max(0, rows) }, (_, index) => lines[index] ?? line(''));
}

interface Section {
  title: string;
  /** Rows that match the filters. */
  rows: readonly unknown[];
  /** Number of rows without filters; null if unknown. */
  total: number | null;
  /** Lays out `most` rows from index `from`. Of thousands of rows, only the visible ones need a layout. */
  table(width: number, from: number, most: number): Table;
}

function sectionOf<Row>(
  title: string,
  rows: readonly Row[],
  total: number | null,
  columns: readonly Column<Row>[],
): Section {
  return {
    title,
    rows,
    total,
    table: (width, from, most) => layOut(columns, rows.slice(from, from + most), width),
  };
}

function titleOf({ title, total }: Section, shown: number): string {
  if (total === null) return `${title} (${shown} of more)`;
  return `${title} (${shown === total ? total : `${shown} of ${total}`})`;
}

function withHeader(section: Section, width: number): Line[] {
  const title = line(titleOf(section, section.rows.length), 'bold');
  if (section.rows.length === 0) return [title, line('  none', 'dim')];
  const { header, rows } = section.table(width, 0, section.rows.length);
  return [title, line(header, 'dim'), ...styled(section, rows)];
}

function withoutHeader(section: Section, width: number, most: number): Line[] {
  const { rows } = section.table(width, 0, most);
  const title = line(titleOf(section, rows.length), 'bold');
  return [title, ...(rows.length === 0 ? [line('  none', 'dim')] : styled(section, rows))];
}

function styled(section: Section, rows: readonly string[], from = 0): Line[] {
  return rows.map((text, index) => line(text, styleOf(section.rows[from + index])));
}

function styleOf(row: unknown): Style {
  const { state, severity } = row as Partial<BufferView & Incident>;
  if (severity === 'critical') return 'loud';
  if (severity === 'warning') return 'warning';
  return state === 'revoked' ? 'dim' : 'plain';
}

/** The rows that match --vm and the filter. The filter matches any column of a row, also a hidden one. */
function sectionsOf({
  daemon,
  view,
  vm,
  nowMs,
}: FrameInput): Record<'incidents' | 'buffers' | 'rejections', Section> {
  const wanted = view.filter.toLowerCase();
  const matches = <Row>(columns: readonly Column<Row>[], row: Row, more = '') =>
    wanted === '' ||
    [...columns.map(({ text }) => text(row)), more].some((text) => text.toLowerCase().includes(wanted));
  const ofVm = (row: Partial<Record<'vm' | 'by_vm' | 'owner_vm', VmRef | null>>) =>
    vm === undefined || [row.vm, row.by_vm, row.owner_vm].some((one) => isVm(one ?? null, vm));
  const { incidents, open } = daemon.incidents;
  const bufferShape = bufferColumns(nowMs);
  const rejectionShape = rejectionColumns(daemon.sentences, nowMs);
  const incidentShape = incidentColumns(nowMs);
  const openIncidents = incidents.filter(
    (row) =>
      row.state === 'open' && ofVm(row) && matches(incidentShape, row, `${row.device} ${vmName(row.vm)}`),
  );
  const buffers = daemon.buffers.filter((row) => ofVm(row) && matches(bufferShape, row));
  const rejections = daemon.rejections.filter((row) => ofVm(row) && matches(rejectionShape, row));
  return {
    incidents: sectionOf('Open incidents', openIncidents, open, incidentShape),
    buffers: sectionOf('Buffers', buffers, daemon.total, bufferShape),
    rejections: sectionOf('Newest rejections', rejections, daemon.rejected, rejectionShape),
  };
}

function headline({ url, daemon, lost, wallMs, view }: FrameInput): Line[] {
  const { status } = daemon;
  const lines = [
    line(`vfio-dmabuf-tracer ${status.version} at ${url}`, 'bold'),
    sourceOf(status),
    ...verdictLines(daemon),
    ...(status.simulation === null
      ? []
      : [line(`SIMULATED: ${status.simulation}: not all data here is real`, 'loud')]),
    ...gapsOf(status).map((text) => line(text, 'loud')),
  ];
  const { live, revoked } = status.buffers;
  const incidents = daemon.incidents.open;
  const counts = `${live} live, ${revoked} revoked, ${count(incidents, 'open incident')}`;
  lines.push(line(view.filter === '' ? counts : `${counts}; filter: ${view.filter}`));
  if (lost !== undefined) {
    const since = clock(lost.sinceMs, wallMs, 'UTC');
    const ago = age(wallMs - lost.sinceMs);
    const again = lost.againMs <= 0 ? 'retrying' : `retry in ${Math.ceil(lost.againMs / 1000)} s`;
    lines.push(
      line(`CONNECTION LOST at ${since}Z, ${ago} ago (${again}): ${lost.why}; the data below is old`, 'loud'),
    );
  }
  return lines.map(({ text, style }) => line(cellOf(text), style));
}

function sourceOf({ source, kernel, dialect, state, not_ready }: Status): Line {
  const where = `kernel ${kernel ?? 'not known yet'}, dialect ${dialect}`;
  if (source.kind === 'replay') {
    const unfinished = not_ready === null ? '' : ', still being read';
    return line(`REPLAY of ${source.name}: not this host, not now${unfinished}; ${where}`, 'warning');
  }
  return state === 'tracing' ? line(`Tracing; ${where}`) : line(`Not tracing; ${where}`, 'loud');
}

const LEVEL_STYLES: Readonly<Record<Level, Style>> = {
  safe: 'good',
  attention: 'warning',
  critical: 'loud',
  blind: 'loud',
  'not-ready': 'loud',
};

/** The verdict, the same as on the page. */
function verdictLines({ status, incidents, buffers, asked }: DaemonState): Line[] {
  const { device, state } = asked;
  const isComplete = device === undefined && state === undefined;
  const { level, word, why } = verdictOf({ status, incidents, buffers: isComplete ? buffers : null });
  const [first, ...others] = why;
  const shown = others.slice(0, REASONS_SHOWN - 1);
  const left = others.length - shown.length;
  return [
    line(
      `${word.toUpperCase()}${device === undefined ? '' : ` (${device} only)`}: ${first}`,
      LEVEL_STYLES[level],
    ),
    ...shown.map((sentence) => line(`  ${sentence}`, LEVEL_STYLES[level])),
    ...(left === 0 ? [] : [line(`  and ${left} more`, 'dim')]),
  ];
}

/** Sentences about past blind time and unconfirmed buffers of a recording. The verdict has the other gaps. */
function gapsOf(status: Status): string[] {
  const blind = blindSentence(status);
  return [
    ...(blind === null ? [] : [`BLIND BEFORE: ${blind}`]),
    ...(status.buffer_state_exact || status.source.kind !== 'replay' || status.state === 'blind'
      ? []
      : [
          'INEXACT: the recording has no snapshot after its start, last loss or blind time; buffers may be missing',
        ]),
  ];
}

function footerOf(view: View): string {
  if (view.typing) return `/${cellOf(view.filter)}_`;
  return view.help ? '? back  q quit' : 'q quit  / filter  ? help  arrows, PgUp, PgDn scroll';
}
