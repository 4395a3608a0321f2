import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  type DashboardLink,
  DashboardLinkBuilder,
  DashboardLinkType,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { type DashboardName, TITLES, UIDS } from './names.ts';

/** A link from a value: title and address. */
export interface ValueLink {
  title: string;
  url: string;
  /** Opens in a new tab: a page of a host. */
  outside?: boolean;
}

function carried(...names: readonly string[]): string {
  return names.map((name) => `\${${name}:queryparam}`).join('&');
}
const CARRIED = carried('datasource', 'cluster');

/** A link to another dashboard. It keeps data source, cluster and time, and sets more variables, which may be the cluster. */
export function toDashboard(
  name: DashboardName,
  title: string,
  variables: Record<string, string>,
): ValueLink {
  const set = Object.entries(variables).map(([variable, value]) => `&var-${variable}=${value}`);
  const rest = variables.cluster === undefined ? CARRIED : carried('datasource');
  return { title, url: `/d/${UIDS[name]}?\${__url_time_range}&${rest}${set.join('')}` };
}

/** The live page of a host, or another of its paths. */
export function toLivePage(title: string, instance: string, rest = ''): ValueLink {
  return { title, url: `http://${instance}/${rest}`, outside: true };
}

/** A host in a link. Two clusters may have the same `instance`. */
export interface HostName extends Record<string, string> {
  cluster: string;
  instance: string;
}

/** The host of a series. */
export const SERIES_HOST: HostName = {
  cluster: '${__field.labels.cluster}',
  instance: '${__field.labels.instance}',
};

/** The links of one host: its dashboard and its live page. */
export function hostLinks(host: HostName): ValueLink[] {
  return [toDashboard('host', 'This host', host), toLivePage('Live page of this host', host.instance)];
}

export function runbook(alert: string, title = `Runbook ${alert}`): ValueLink {
  return { title, url: `\${runbooks}${alert}.md`, outside: true };
}

/** The SDK puts each link into a menu; without `placement` it is visible. */
function shown(link: DashboardLinkBuilder): Builder<DashboardLink> {
  return {
    build: () => {
      const { placement: _placement, ...rest } = link.build();
      return rest;
    },
  };
}

export function linkBuilder({ title, url, outside = false }: ValueLink): Builder<DashboardLink> {
  return shown(new DashboardLinkBuilder(title).type(DashboardLinkType.Link).url(url).targetBlank(outside));
}

/**
 * The links at the top of every dashboard, to the others. They keep time, data source and cluster. They also keep the selected
 * hosts, except to the dashboard of one host, which cannot show several.
 */
export function familyLinks(from: DashboardName): Builder<DashboardLink>[] {
  const others = (Object.keys(UIDS) as DashboardName[]).filter((name) => name !== from);
  return others.map((name) => {
    const hosts = name === 'host' ? '' : '&${instance:queryparam}';
    const link = new DashboardLinkBuilder(TITLES[name]).type(DashboardLinkType.Link).keepTime(true);
    return shown(link.icon('dashboard').url(`/d/${UIDS[name]}?${CARRIED}${hosts}`));
  });
}
