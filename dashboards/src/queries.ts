import { INCIDENT_KINDS } from '../../server/src/contract/incidents.ts';
import { INCIDENT_RULES } from '../../server/src/incidents/rules/index.ts';

/** The kinds of incidents about private or confidential memory, as a regular expression. */
export const PRIVATE_KINDS = INCIDENT_KINDS.filter((kind) => INCIDENT_RULES[kind].securityRelevant).join('|');

/** The variables of a dashboard as matchers, for the braces of a selector. */
export const FLEET = 'cluster=~"$cluster",instance=~"$instance"';
/** For the dashboard on which the variable host has one value. */
export const HOST = 'cluster=~"$cluster",instance="$instance"';

/** Identifies a host, whether or not the scrape configuration adds the label cluster. */
export const ON_HOST = 'on (cluster, job, instance)';

/**
 * The growth of a counter in a window. A counter of something that had never happened starts with 1, for which increase() returns 0.
 * So a series that did not exist before counts with its full value. The hour prevents that a failed scrape makes old counts new
 * (dashboards/rules/recording.yaml).
 */
export function grown(metric: string, matchers: string, window = '$__range'): string {
  const series = `${metric}{${matchers}}`;
  const before =
    `${series} offset ${window} or (${series} >= last_over_time(${series}[1h] offset ${window}) ` +
    `unless ${ON_HOST} vfio_dmabuf_build_info offset ${window})`;
  return `(${series} unless (${before})) or increase(${series}[${window}])`;
}

/**
 * The growth of a counter in each interval of a bar panel, as the difference of two samples. So bars are whole numbers and add up to
 * the total; those of increase() over a window longer than the step do not. A counter that was reset, or did not exist in the hour
 * before, counts with its full value.
 */
export function grownEach(metric: string, matchers: string): string {
  const series = `${metric}{${matchers}}`;
  return `(${series} - last_over_time(${series}[1h] offset $__interval)) >= 0 or ${series}`;
}

export function grownEachBy(labels: string, metric: string, matchers: string): string {
  return `sum by (${labels}) (${grownEach(metric, matchers)})`;
}

/** The growth in a window, summed by labels. */
export function grownBy(labels: string, metric: string, matchers: string, window?: string): string {
  return `sum by (${labels}) (${grown(metric, matchers, window)})`;
}

/** A sum that is 0 only if a traced host has the probe attached. Otherwise it has no value, and the panel shows its `empty` text. */
export function zeroWhereTraced(sum: string, matchers: string, probe: string): string {
  const traced =
    `vfio_dmabuf_probe_attached{${matchers},probe="${probe}"} == 1 and ${ON_HOST} ` +
    `vfio_dmabuf_up{${matchers}} == 1`;
  return `sum(${sum}) or 0 * count(${traced})`;
}

/**
 * Targets that have served this program's metrics within a day, whether or not they answer now. Also targets that never have, if no
 * other exporter answers in their job, so that a host that never came up is known. The query does not depend on the name of the
 * job. In a job that other exporters share, their targets do not count.
 */
export function targets(matchers: string): string {
  const ours = 'last_over_time(vfio_dmabuf_build_info[1d])';
  return (
    `up{${matchers}} and ${ON_HOST} ${ours} or ` +
    `(up{${matchers}} and on (job) ${ours} unless on (job) (up == 1 unless ${ON_HOST} ${ours}))`
  );
}

/** 2: the host is traced. 1: its tracer answers and is blind. 0: it does not answer. */
export function hostState(matchers: string): string {
  return `(up{${matchers}} == 1) + ${ON_HOST} vfio_dmabuf_up{${matchers}} or (${targets(matchers)}) == 0`;
}

/** Hosts that are down or blind. */
export function notTraced(matchers: string): string {
  return `count(${targets(matchers)}) - (sum(vfio_dmabuf_up{${matchers}}) or vector(0))`;
}

export function quantile(q: number, metric: string, matchers: string, labels = ''): string {
  const by = labels === '' ? 'le' : `le, ${labels}`;
  return `histogram_quantile(${q}, sum by (${by}) (rate(${metric}_bucket{${matchers}}[$__rate_interval])))`;
}

/** The median and the 99th percentile of a duration. */
export function medianAndP99(metric: string, matchers: string): { expr: string; legend: string }[] {
  return [
    { expr: quantile(0.5, metric, matchers), legend: 'p50' },
    { expr: quantile(0.99, metric, matchers), legend: 'p99' },
  ];
}
