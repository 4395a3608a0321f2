import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  type DataSourceRef,
  GraphDrawStyle,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TableCellDisplayMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  type PanelBuilder as AnyPanelBuilder,
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  SpecialValueMatch,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as statetimeline from '@grafana/grafana-foundation-sdk/statetimeline';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';
import { type HostName, linkBuilder, toDashboard, toLivePage, type ValueLink } from './links.ts';
import { DATASOURCE } from './variables.ts';

const SOURCE: DataSourceRef = DATASOURCE;

/** What all panels have. */
export interface PanelSpec {
  title: string;
  description: string;
  width: number;
  height: number;
  /** Shown if there is no series: explains what that means. */
  empty: string;
  unit?: string;
  links?: readonly ValueLink[];
}

export interface Query {
  expr: string;
  legend?: string;
}

/** The color from this value on. No value is grey, never the green of a zero. */
export type Steps = readonly (readonly [from: number, color: string])[];
const UNKNOWN = '#7d7d7d';
export const NEUTRAL: Steps = [[0, 'text']];
/** The fill color of a stat. */
const INFORMATION: Steps = [[0, 'semi-dark-blue']];
export const ZERO_IS_GOOD: Steps = [
  [0, 'green'],
  [0.001, 'orange'],
];
export const ZERO_OR_ALARM: Steps = [
  [0, 'green'],
  [0.001, 'red'],
];

export const STATE_MAPPING: ValueMapping[] = [
  mapping({
    2: ['traced', 'green'],
    1: ['BLIND', 'red'],
    0: ['DOWN', 'red'],
  }),
];

export function mapping(values: Record<string, readonly [text: string, color: string]>): ValueMapping {
  const options = Object.entries(values).map(([value, [text, color]], index) => [
    value,
    { text, color, index },
  ]);
  return { type: MappingType.ValueToText, options: Object.fromEntries(options) } as ValueMapping;
}

function thresholds(steps: Steps): ThresholdsConfigBuilder {
  return new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([
      { value: null, color: UNKNOWN },
      ...steps.map(([value, color]): Threshold => ({ value, color })),
    ]);
}

function refId(index: number): string {
  return String.fromCharCode(65 + index);
}

function queryBuilder(
  { expr, legend }: Query,
  index: number,
  instant: boolean,
  format: PromQueryFormat,
): DataqueryBuilder {
  const query = new DataqueryBuilder().expr(expr).refId(refId(index)).datasource(SOURCE).format(format);
  if (legend !== undefined) query.legendFormat(legend);
  return instant ? query.instant() : query.range();
}

/** The methods that the builders of all kinds of panels share; each returns its builder. */
interface Common {
  title(title: string): unknown;
  description(description: string): unknown;
  datasource(source: DataSourceRef): unknown;
  span(width: number): unknown;
  height(height: number): unknown;
  noValue(text: string): unknown;
  dataLinks(links: ReturnType<typeof linkBuilder>[]): unknown;
  unit(unit: string): unknown;
  withTarget(query: DataqueryBuilder): unknown;
}

function dress<T extends Common>(panel: T, spec: PanelSpec, queries: readonly DataqueryBuilder[]): T {
  panel.title(spec.title);
  panel.description(spec.description);
  panel.datasource(SOURCE);
  panel.span(spec.width);
  panel.height(spec.height);
  panel.noValue(spec.empty);
  panel.dataLinks((spec.links ?? []).map(linkBuilder));
  if (spec.unit !== undefined) panel.unit(spec.unit);
  for (const query of queries) panel.withTarget(query);
  return panel;
}

export type AnyPanel = Pick<AnyPanelBuilder, 'build'>;

export interface StatSpec extends PanelSpec {
  queries: readonly Query[];
  steps?: Steps;
  mappings?: ValueMapping[];
  decimals?: number;
}

/** Current values in large digits; the color fills the panel. */
export function statPanel(spec: StatSpec): AnyPanel {
  const queries = spec.queries.map((query, index) =>
    queryBuilder(query, index, true, PromQueryFormat.TimeSeries),
  );
  const panel = dress(new stat.PanelBuilder(), spec, queries)
    .colorMode(BigValueColorMode.Background)
    .graphMode(BigValueGraphMode.None)
    .textMode(
      spec.queries.some(({ legend }) => legend !== undefined)
        ? BigValueTextMode.ValueAndName
        : BigValueTextMode.Value,
    )
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .thresholds(thresholds(spec.steps ?? INFORMATION))
    .decimals(spec.decimals ?? 0);
  const none: ValueMapping = {
    type: MappingType.SpecialValue,
    options: { match: SpecialValueMatch.NullAndNan, result: { text: spec.empty, color: UNKNOWN } },
  };
  return panel.mappings([...(spec.mappings ?? []), none]);
}

export interface SeriesSpec extends PanelSpec {
  queries: readonly Query[];
  /** Bars show what happened in an interval (grownEach), lines show a state. */
  bars?: boolean;
  stack?: boolean;
  max?: number;
}

/** A bar must not cover less time than the interval between two scrapes. */
const SHORTEST_BAR = '1m';

export function seriesPanel(spec: SeriesSpec): AnyPanel {
  const queries = spec.queries.map((query, index) => {
    const builder = queryBuilder(query, index, false, PromQueryFormat.TimeSeries);
    return spec.bars === true ? builder.interval(SHORTEST_BAR) : builder;
  });
  const panel = dress(new timeseries.PanelBuilder(), spec, queries)
    .drawStyle(spec.bars === true ? GraphDrawStyle.Bars : GraphDrawStyle.Line)
    .fillOpacity(spec.bars === true ? 80 : 10)
    .lineWidth(1)
    .min(0)
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi));
  if (spec.stack === true) panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'));
  return spec.max === undefined ? panel : panel.max(spec.max);
}

export interface TimelineSpec extends PanelSpec {
  queries: readonly Query[];
  mappings: ValueMapping[];
}

export function timelinePanel(spec: TimelineSpec): AnyPanel {
  const queries = spec.queries.map((query, index) =>
    queryBuilder(query, index, false, PromQueryFormat.TimeSeries),
  );
  return dress(new statetimeline.PanelBuilder(), spec, queries)
    .mappings(spec.mappings)
    .thresholds(thresholds(NEUTRAL))
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .mergeValues(true)
    .rowHeight(0.8);
}

export interface Column {
  /** The label, or the letter of the query whose value it is. */
  from: string;
  /** One word, because links refer to it. */
  title: string;
  unit?: string;
  width?: number;
  steps?: Steps;
  mappings?: ValueMapping[];
  links?: readonly ValueLink[];
}

export interface TableSpec extends PanelSpec {
  /** Their only labels are those that identify a row and those that are columns. */
  queries: readonly Query[];
  columns: readonly Column[];
  /** Letters of the queries that only provide labels; their values are hidden. */
  hide?: readonly string[];
  /** Title of the column that sorts the rows. */
  sortBy?: { column: string; desc: boolean };
}

/** The text of an empty cell. Without it Grafana shows the text for the empty table there. */
const NO_VALUE = '–';

/** The cell of a column in the row of the link. */
export function cell(title: string): string {
  return `\${__data.fields.${title}}`;
}

/** The host of a row, in a table with these two columns. */
export const ROW_HOST: HostName = { cluster: cell('Cluster'), instance: cell('Host') };

/** For a column `Device`. */
export const DEVICE_ON_HOST = toDashboard('host', 'This device on its host', {
  ...ROW_HOST,
  device: cell('Device'),
});

/** The live page of the host of a row; `rest` is the part of its address after the host. */
export function toLivePageOfRow(title: string, rest: string): ValueLink {
  return toLivePage(title, cell('Host'), rest);
}

/** One row for each label set. Queries are merged into its columns; a column without a value stays empty. */
export function tablePanel(spec: TableSpec): AnyPanel {
  const queries = spec.queries.map((query, index) => queryBuilder(query, index, true, PromQueryFormat.Table));
  // Grafana calls the values of a single query `Value`, of several `Value #A`.
  const field = (from: string): string =>
    /^[A-Z]$/.test(from) ? (spec.queries.length > 1 ? `Value #${from}` : 'Value') : from;
  const titles = spec.columns.map(({ from, title }) => [field(from), title]);
  const panel = dress(new table.PanelBuilder(), spec, queries)
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: Object.fromEntries(
          ['Time', ...(spec.hide ?? []).map(field)].map((name) => [name, true]),
        ),
        indexByName: Object.fromEntries(spec.columns.map(({ from }, index) => [field(from), index])),
        renameByName: Object.fromEntries(titles),
      },
    })
    .filterable(true);
  const linked = JSON.stringify(spec.columns.map((column) => column.links ?? []));
  for (const column of spec.columns) {
    // A link uses the text that the cell shows.
    const noValue = linked.includes(cell(column.title)) ? '' : NO_VALUE;
    const properties: { id: string; value: unknown }[] = [{ id: 'noValue', value: noValue }];
    if (column.unit !== undefined) properties.push({ id: 'unit', value: column.unit });
    if (column.width !== undefined) properties.push({ id: 'custom.width', value: column.width });
    if (column.mappings !== undefined) properties.push({ id: 'mappings', value: column.mappings });
    if (column.steps !== undefined || column.mappings !== undefined) {
      properties.push(
        { id: 'thresholds', value: thresholds(column.steps ?? NEUTRAL).build() },
        { id: 'custom.cellOptions', value: { type: TableCellDisplayMode.ColorText } },
      );
    }
    if (column.links !== undefined) {
      properties.push({ id: 'links', value: column.links.map((link) => linkBuilder(link).build()) });
    }
    panel.overrideByName(column.title, properties);
  }
  const { sortBy } = spec;
  if (sortBy !== undefined) {
    panel.sortBy([{ build: () => ({ displayName: sortBy.column, desc: sortBy.desc }) }]);
  }
  return panel;
}
