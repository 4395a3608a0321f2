import { hostLinks, runbook, SERIES_HOST, toDashboard } from './links.ts';
import {
  type AnyPanel,
  cell,
  ROW_HOST,
  STATE_MAPPING,
  statPanel,
  tablePanel,
  timelinePanel,
  ZERO_OR_ALARM,
} from './panels.ts';
import { grown, hostState, notTraced, PRIVATE_KINDS } from './queries.ts';

/** Panels of several dashboards: whether the numbers are reliable, and which alerts fire. */

export function notTracedPanel(matchers: string, width: number): AnyPanel {
  return statPanel({
    title: 'Hosts not traced',
    description:
      'Hosts whose tracer does not answer or is blind. Their counters keep their last value, so the other panels do not cover them.',
    width,
    height: 4,
    queries: [{ expr: notTraced(matchers) }],
    steps: ZERO_OR_ALARM,
    empty: 'no host is scraped',
    links: [
      toDashboard('tracer', 'The tracer itself', {}),
      runbook('VfioDmabufTracerDown'),
      runbook('VfioDmabufTracerBlind'),
    ],
  });
}

/** `more`: variables for the link to the dashboard of private exports. */
export function privateMemoryPanel(matchers: string, width: number, more: Record<string, string>): AnyPanel {
  return statPanel({
    title: 'Private-memory findings',
    description:
      'Policy violations in the time range, rejected offers included, and open incidents about private and confidential memory. ' +
      'A kind has a value only if a kernel and its probes can detect it.',
    width,
    height: 4,
    queries: [
      { expr: `sum(${grown('vfio_dmabuf_policy_violations_total', matchers)})`, legend: 'violations' },
      {
        expr: `sum(vfio_dmabuf_incidents{${matchers},kind=~"${PRIVATE_KINDS}"})`,
        legend: 'open now',
      },
    ],
    steps: ZERO_OR_ALARM,
    empty: 'no traced kernel can detect this',
    links: [
      toDashboard('privacy', 'Private exports and VMs', more),
      runbook('VfioDmabufPolicyViolation'),
      runbook('VfioDmabufPrivateMemoryOffered'),
      runbook('VfioDmabufConfidentialShared'),
    ],
  });
}

export function stateTimeline(matchers: string, width: number, height: number): AnyPanel {
  return timelinePanel({
    title: 'Traced over time',
    description:
      'When each host was traced, blind (the daemon answers, bpftrace does not run) or did not answer.',
    width,
    height,
    queries: [{ expr: hostState(matchers), legend: '{{instance}}' }],
    mappings: STATE_MAPPING,
    empty: 'no host is scraped',
    links: hostLinks(SERIES_HOST),
  });
}

export function firingAlerts(matchers: string, width: number, height: number): AnyPanel {
  return tablePanel({
    title: 'Firing alerts',
    description:
      'Firing alerts of dashboards/rules. Also empty if these rules are not loaded; the other panels do not need them.',
    width,
    height,
    queries: [
      {
        expr:
          'group by (cluster, instance, alertname, severity, device) ' +
          `(ALERTS{alertname=~"VfioDmabuf.+",alertstate="firing",${matchers}})`,
      },
    ],
    columns: [
      { from: 'severity', title: 'Severity', width: 90 },
      { from: 'alertname', title: 'Alert', links: [runbook(cell('Alert'), 'Runbook')] },
      { from: 'cluster', title: 'Cluster' },
      { from: 'instance', title: 'Host', links: hostLinks(ROW_HOST) },
      { from: 'device', title: 'Device' },
    ],
    hide: ['A'],
    empty: 'no firing alerts, or the rules are not loaded',
  });
}
