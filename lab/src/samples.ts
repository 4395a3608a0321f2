/**
 * Samples of a text exposition: `name{labels}` to value. Names are without the common prefix, labels in alphabetical
 * order.
 */
export type Samples = ReadonlyMap<string, number>;

const PREFIX = 'vfio_dmabuf_';

export function parseSamples(text: string): Samples {
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#') || !line.startsWith(PREFIX)) continue;
    const space = line.lastIndexOf(' ');
    const [, name = '', labels] = /^(\w+)(?:\{(.*)\})?$/.exec(line.slice(PREFIX.length, space)) ?? [];
    // No label value in the lab contains a quote or a brace.
    const sorted = labels?.match(/\w+="[^"]*"/g)?.sort();
    samples.set(sorted === undefined ? name : `${name}{${sorted.join(',')}}`, Number(line.slice(space + 1)));
  }
  return samples;
}

/** Sum of the series of one metric that have all of these labels, each written as `name="value"`. */
export function total(samples: Samples, name: string, ...having: string[]): number {
  let sum = 0;
  for (const [key, value] of samples) {
    if ((key === name || key.startsWith(`${name}{`)) && having.every((label) => key.includes(label)))
      sum += value;
  }
  return sum;
}

/** Samples of times, of the tracer itself, and of events. Events are compared separately. */
const VOLATILE =
  /(_seconds_sum|_seconds_bucket|_timestamp_seconds|_info)(\{|$)|^(events_|blind_|buffer_state_exact|stream_clients|probe_|unknown_records|series_folded)/;

/** Differences between two scrapes, without the samples that a scenario cannot predict. */
export function changed(before: Samples, after: Samples): Record<string, number> {
  const difference: Record<string, number> = {};
  for (const key of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const grown = (after.get(key) ?? 0) - (before.get(key) ?? 0);
    if (grown !== 0 && !VOLATILE.test(key)) difference[key] = grown;
  }
  return difference;
}
