import { type Labels, labelKey } from '../model/series-set.ts';
import { DURATION_BOUNDS } from '../protocol/codes.ts';
import type { FamilyDeclaration } from '../protocol/declaration.ts';
import {
  type CounterName,
  FAMILY_DECLARATIONS,
  type HistogramName,
  probesFeeding,
} from '../protocol/declared.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { MetricSample } from './exposition.ts';
import { type FamilySpec, PREFIX } from './family.ts';

/** What follows the declared name of a family. */
export const SUFFIX = { counter: '_total', histogram: '_seconds' };

/** What probes count in kernel maps, as probes/ declares it. Lost events do not change it. */
export const KERNEL_FAMILIES: readonly FamilySpec[] = FAMILY_DECLARATIONS.map((family) => {
  const { name, type, help, details } = family;
  const probes = probesFeeding(family);
  return {
    name: `${name}${SUFFIX[type]}`,
    help,
    details,
    type,
    present: (model) => probes.some((probe) => model.wasAttached(probe)),
    samples: family.type === 'counter' ? countsOf(family.name, family) : durationsOf(family.name, family),
  };
});

/** The series of a counter, and its known label sets with 0. */
function countsOf(name: CounterName, family: FamilyDeclaration): FamilySpec['samples'] {
  return (model) => {
    const series = model.counters.counter(name);
    const present = new Set(series.map(({ labels }) => labelKey(labels)));
    const missing = knownOf(family, model).filter((labels) => !present.has(labelKey(labels)));
    return [...series, ...missing.map((labels) => ({ labels, value: 0 }))];
  };
}

/** The series of a histogram, whose buckets are counted in the kernel. */
function durationsOf(name: HistogramName, family: FamilyDeclaration): FamilySpec['samples'] {
  return (model) => {
    const series = model.counters.histogram(name);
    const known = knownOf(family, model).map((labels) => ({ labels, buckets: [], sumNs: 0 }));
    const shown = series.length > 0 ? series : known;
    return shown.flatMap(({ labels, buckets, sumNs }) =>
      histogramSamples(`${PREFIX}${name}${SUFFIX.histogram}`, labels, buckets, sumNs),
    );
  };
}

/** Label sets that exist before their first call. */
function knownOf({ labels, known }: FamilyDeclaration, model: TracerModel): readonly Labels[] {
  if (known !== undefined) return known({ countsViolation: (kind) => model.incidents.countsViolation(kind) });
  return labels.length === 0 ? [{}] : [];
}

function histogramSamples(
  name: string,
  labels: Labels,
  buckets: readonly number[],
  sumNs: number,
): MetricSample[] {
  const samples: MetricSample[] = [];
  let count = 0;
  for (let bucket = 0; bucket <= DURATION_BOUNDS.length; bucket += 1) {
    count += buckets[bucket] ?? 0;
    const le = DURATION_BOUNDS[bucket];
    samples.push({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: le === undefined ? '+Inf' : String(le) },
      value: count,
    });
  }
  samples.push({ metricName: `${name}_sum`, labels, value: sumNs / 1e9 });
  samples.push({ metricName: `${name}_count`, labels, value: count });
  return samples;
}
