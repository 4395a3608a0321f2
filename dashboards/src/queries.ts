/** What a query is about: the variables of a dashboard as matchers, to be put between the braces of a selector. */
export const FLEET = 'cluster=~"$cluster",instance=~"$instance"';
/** On dashboards where the variable host has one value. */
export const HOST = 'cluster=~"$cluster",instance="$instance"';

/** What makes a host one of its own, wherever the scrape configuration has put the label cluster. */
export const ON_HOST = 'on (cluster, job, instance)';

/**
 * How much a counter has grown in a window. A counter of something that had never happened begins with its first sample at 1, of
 * which increase() makes 0, so a series that was not there before counts whole; the hour keeps a failed scrape from
 * making old counts new where the host did not answer then (dashboards/rules/recording.yaml).
 */
export function grown(metric: string, matchers: string, window = '$__range'): string {
  const series = `${metric}{${matchers}}`;
  const before =
    `${series} offset ${window} or (${series} >= last_over_time(${series}[1h] offset ${window}) ` +
    `unless ${ON_HOST} vfio_dmabuf_build_info offset ${window})`;
  return `(${series} unless (${before})) or increase(${series}[${window}])`;
}

/**
 * How much a counter has grown in each interval of a panel of bars: the difference of two samples, so that the bars are whole
 * numbers and add up to what happened, which those of increase() over a window longer than the step do not. A counter that began
 * anew, or was not there in the hour before, counts whole.
 */
export function grownEach(metric: string, matchers: string): string {
  const series = `${metric}{${matchers}}`;
  return `(${series} - last_over_time(${series}[1h] offset $__interval)) >= 0 or ${series}`;
}

export function grownEachBy(labels: string, metric: string, matchers: string): string {
  return `sum by (${labels}) (${grownEach(metric, matchers)})`;
}

/** The sum of what grew, by labels. */
export function grownBy(labels: string, metric: string, matchers: string, window?: string): string {
  return `sum by (${labels}) (${grown(metric, matchers, window)})`;
}

/**
 * A sum that is 0 only where a tracing host has the probe that would tell otherwise; without one it has no value, and the panel says
 * so in words: a zero must not look like peace.
 */
export function zeroWhereWatched(sum: string, matchers: string, probe: string): string {
  const watching =
    `vfio_dmabuf_probe_attached{${matchers},probe="${probe}"} == 1 and ${ON_HOST} ` +
    `vfio_dmabuf_up{${matchers}} == 1`;
  return `sum(${sum}) or 0 * count(${watching})`;
}

/**
 * Targets that have served this program's metrics within a day, whether or not they answer now; and those that never have, if
 * nothing else answers in their job, so that a host that never came up is known as well. Free of the job's name, and in a job
 * that others share their targets do not count.
 */
export function targets(matchers: string): string {
  const ours = 'last_over_time(vfio_dmabuf_build_info[1d])';
  return (
    `up{${matchers}} and ${ON_HOST} ${ours} or ` +
    `(up{${matchers}} and on (job) ${ours} unless on (job) (up == 1 unless ${ON_HOST} ${ours}))`
  );
}

/** 2 where a host is traced, 1 where its tracer answers and is blind, 0 where it does not answer. */
export function hostState(matchers: string): string {
  return `(up{${matchers}} == 1) + ${ON_HOST} vfio_dmabuf_up{${matchers}} or (${targets(matchers)}) == 0`;
}

/** Hosts that are down or blind. */
export const notTraced = (matchers: string): string =>
  `count(${targets(matchers)}) - (sum(vfio_dmabuf_up{${matchers}}) or vector(0))`;

export function quantile(q: number, metric: string, matchers: string, labels = ''): string {
  const by = labels === '' ? 'le' : `le, ${labels}`;
  return `histogram_quantile(${q}, sum by (${by}) (rate(${metric}_bucket{${matchers}}[$__rate_interval])))`;
}
