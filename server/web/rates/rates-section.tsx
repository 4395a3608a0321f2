import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';
import { duration, NO_VALUE } from '../../src/contract/format.ts';
import { knowledgeOf, NOT_KNOWN } from '../data/knowledge.ts';
import type { PageStore } from '../data/page-store.ts';
import type { HistorySample } from '../data/types.ts';
import { Section } from '../parts/section.tsx';

interface Curve {
  name: string;
  color: string;
  dashed: boolean;
  value: (sample: HistorySample) => number | null;
}

/** Two counter reads that are further apart have a gap between them: the rates in it are unknown. */
const GAP_SECONDS = 30;

function curve(name: string, color: string, value: Curve['value'], dashed = false): Curve {
  return {
    name,
    color,
    dashed,
    value,
  };
}

const RATES: readonly Curve[] = [
  curve('exports', '--plot-1', ({ rates }) => rates.exports),
  curve('rejected exports', '--plot-2', ({ rates }) => rates.export_rejections, true),
  curve('import stages', '--plot-3', ({ rates }) => rates.imports),
  curve('rejected import stages', '--plot-4', ({ rates }) => rates.import_rejections, true),
  curve('revocations', '--plot-5', ({ rates }) => rates.revocations),
];

const TIMES: readonly Curve[] = (
  [
    ['export', 'export_duration', '--plot-1'],
    ['import', 'import_duration', '--plot-3'],
    ['revocation', 'revocation_duration', '--plot-5'],
  ] as const
).flatMap(([name, key, color]) => [
  curve(`${name} p50`, color, ({ durations }) => durations[key]?.p50 ?? null),
  curve(`${name} p99`, color, ({ durations }) => durations[key]?.p99 ?? null, true),
]);

function rate(value: number): string {
  return `${value === 0 ? '0' : value < 0.1 ? value.toFixed(3) : value.toFixed(1)}/s`;
}

export function RatesSection({ store }: { store: PageStore }) {
  const samples = store.history.value;
  const note = 'the last half hour, from the counters in the kernel';
  if (samples.length < 2) {
    return (
      <Section id="rates" title="Rates and durations" note={note}>
        <p class="empty">
          {knowledgeOf(store.status.value) === 'never' ? NOT_KNOWN : 'A plot needs two counter reads.'}
        </p>
      </Section>
    );
  }
  return (
    <Section id="rates" title="Rates and durations" note={note}>
      <div class="plots">
        <Plot title="Calls a second" samples={samples} curves={RATES} text={rate} logarithmic={false} />
        <Plot
          title="Duration of a call"
          samples={samples}
          curves={TIMES}
          text={duration}
          logarithmic={true}
        />
      </div>
    </Section>
  );
}

interface PlotProps {
  title: string;
  samples: readonly HistorySample[];
  curves: readonly Curve[];
  text: (value: number) => string;
  logarithmic: boolean;
}

function Plot({ title, samples, curves, text, logarithmic }: PlotProps) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const pointed = useSignal<number | null>(null);

  // Redraws when the color scheme changes. New data only needs the effect below.
  useLayoutEffect(() => {
    const { current } = frame;
    if (current === null) return;
    const draw = (): void => {
      plot.current?.destroy();
      plot.current = new UPlot(
        options(current, curves, text, logarithmic, (index) => {
          pointed.value = index;
        }),
        dataOf([], curves),
        current,
      );
    };
    draw();
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const redraw = (): void => {
      const data = plot.current?.data;
      draw();
      if (data !== undefined) plot.current?.setData(data);
    };
    scheme.addEventListener('change', redraw);
    const observer = new ResizeObserver(() => {
      if (plot.current !== null && plot.current.width !== current.clientWidth)
        plot.current.setSize({ width: current.clientWidth, height: HEIGHT });
    });
    observer.observe(current);
    return () => {
      observer.disconnect();
      scheme.removeEventListener('change', redraw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [curves, text, logarithmic, pointed]);
  useLayoutEffect(() => {
    plot.current?.setData(dataOf(samples, curves));
  }, [samples, curves]);

  const data = dataOf(samples, curves);
  const last = (index: number): number | null => {
    const column = data[index + 1] ?? [];
    if (pointed.value !== null) return column[pointed.value] ?? null;
    return column[column.length - 1] ?? null;
  };
  return (
    <figure class="plot">
      <figcaption>{title}</figcaption>
      <div ref={frame} class="plot-frame" aria-hidden="true" />
      <table class="plot-legend">
        <caption class="hidden">{title}: now, and the most in the last half hour</caption>
        <thead>
          <tr>
            <th scope="col" class="hidden-cell">
              what
            </th>
            <th scope="col">{pointed.value === null ? 'last' : 'there'}</th>
            <th scope="col">most</th>
          </tr>
        </thead>
        <tbody>
          {curves.map(({ name, color, dashed }, index) => {
            const value = last(index);
            const values = Array.from(data[index + 1] ?? []).filter((one) => one != null);
            const most = values.length === 0 ? null : Math.max(...values);
            return (
              <tr key={name}>
                <th scope="row">
                  <svg width="18" height="8" aria-hidden="true">
                    <path
                      d="M0 4H18"
                      style={{ stroke: `var(${color})` }}
                      stroke-width="2.5"
                      stroke-dasharray={dashed ? '4 3' : undefined}
                    />
                  </svg>
                  {name}
                </th>
                <td>{value === null ? NO_VALUE : text(value)}</td>
                <td>{most === null ? NO_VALUE : text(most)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </figure>
  );
}

const HEIGHT = 220;

function known(column: ArrayLike<unknown> = []): number {
  return Array.from(column).filter((one) => one != null).length;
}

function dataOf(samples: readonly HistorySample[], curves: readonly Curve[]): UPlot.AlignedData {
  const times: number[] = [];
  const columns = curves.map((): (number | null)[] => []);
  for (const sample of samples) {
    const time = Date.parse(sample.time) / 1000;
    if (sample.seconds > GAP_SECONDS && times.length > 0) {
      times.push(time - sample.seconds / 2);
      for (const column of columns) column.push(null);
    }
    times.push(time);
    for (const [index, { value }] of curves.entries()) columns[index]?.push(value(sample));
  }
  return [times, ...columns];
}

function options(
  frame: HTMLElement,
  curves: readonly Curve[],
  text: (value: number) => string,
  logarithmic: boolean,
  onPoint: (index: number | null) => void,
): UPlot.Options {
  const style = getComputedStyle(frame);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const font = `12px ${style.fontFamily}`;
  const axis = {
    stroke: color('--muted'),
    font,
    grid: { stroke: color('--line'), width: 1 },
    ticks: { stroke: color('--line'), width: 1 },
  };
  return {
    width: Math.max(200, frame.clientWidth),
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: { time: true },
      y: logarithmic ? { distr: 3 } : { range: (_, __, max) => [0, Math.max(1, max * 1.1)] },
    },
    axes: [
      { ...axis, values: CLOCK_AXIS, space: 80 },
      {
        ...axis,
        size: 64,
        values: (_, ticks) => ticks.map((tick) => (tick == null ? '' : text(tick))),
      },
    ],
    series: [
      {},
      ...curves.map(({ color: name, dashed }) => ({
        stroke: color(name),
        width: 1.8,
        ...(dashed ? { dash: [5, 4] } : {}),
        spanGaps: logarithmic,
        // A single call makes no line.
        points: { show: (self: UPlot, index: number) => known(self.data[index]) < 60, size: 5 },
      })),
    ],
    hooks: {
      setCursor: [
        (self) =>
          onPoint(self.cursor.left != null && self.cursor.left >= 0 ? (self.cursor.idx ?? null) : null),
      ],
    },
  };
}

/** A 24-hour clock in the time zone of the browser. */
function CLOCK_AXIS(_: UPlot, ticks: number[]): string[] {
  const whole = ticks.every((tick) => tick % 60 === 0);
  return ticks.map((tick) =>
    new Date(tick * 1000).toLocaleTimeString('en-GB', {
      hour: '2-digit',
      minute: '2-digit',
      ...(whole ? {} : { second: '2-digit' }),
    }),
  );
}
