import { DashboardLinkBuilder, DashboardLinkType } from '@grafana/grafana-foundation-sdk/dashboard';
import { type DashboardName, TAG, UIDS } from './names.ts';

/** A link from a value: title and address. */
export interface ValueLink {
  title: string;
  url: string;
  /** Opens beside Grafana: a host's own page. */
  outside?: boolean;
}

const CARRIED = ['datasource', 'cluster'].map((name) => `\${${name}:queryparam}`).join('&');

/** Another dashboard with the same data source, cluster and time, and more variables set. */
export function toDashboard(
  name: DashboardName,
  title: string,
  variables: Record<string, string>,
): ValueLink {
  const set = Object.entries(variables).map(([variable, value]) => `&var-${variable}=${value}`);
  return { title, url: `/d/${UIDS[name]}?\${__url_time_range}&${CARRIED}${set.join('')}` };
}

/** The host's own page, or a part of it. */
export function toLivePage(title: string, instance: string, rest = ''): ValueLink {
  return { title, url: `http://${instance}/${rest}`, outside: true };
}

/** The links of one host: its dashboard and its own page. `instance` is how the panel names the host. */
export const hostLinks = (instance: string): ValueLink[] => [
  toDashboard('host', 'This host', { instance }),
  toLivePage('Live page of this host', instance),
];

export function runbook(alert: string, title = `Runbook ${alert}`): ValueLink {
  return { title, url: `\${runbooks}${alert}.md`, outside: true };
}

export function linkBuilder({ title, url, outside = false }: ValueLink): DashboardLinkBuilder {
  return new DashboardLinkBuilder(title).type(DashboardLinkType.Link).url(url).targetBlank(outside);
}

/** In the head of every dashboard: the others, with time and variables. */
export function familyLink(): DashboardLinkBuilder {
  return new DashboardLinkBuilder('Other dashboards')
    .type(DashboardLinkType.Dashboards)
    .tags([TAG])
    .keepTime(true)
    .includeVars(true)
    .asDropdown(false);
}
