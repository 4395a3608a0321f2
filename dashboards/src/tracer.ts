import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { createDashboard } from './dashboard.ts';
import { hostLinks, runbook, type ValueLink } from './links.ts';
import {
  type PanelSpec,
  ROW_HOST,
  STATE_MAPPING,
  seriesPanel,
  statPanel,
  tablePanel,
  toLivePageOfRow,
  ZERO_IS_GOOD,
  ZERO_OR_ALARM,
} from './panels.ts';
import { FLEET, grownEach, hostState, ON_HOST } from './queries.ts';
import { notTracedPanel, stateTimeline } from './trust.ts';
import { hostVariable } from './variables.ts';

const EMPTY = 'no host answers';

/** A panel with the growth of the tracer's own counters in each interval. They exist at 0. */
function losses(
  title: string,
  description: string,
  queries: readonly { metric: string; by?: string; legend: string }[],
  more: Partial<PanelSpec> & { links?: readonly ValueLink[] } = {},
) {
  return seriesPanel({
    title,
    description,
    width: 8,
    height: 7,
    empty: EMPTY,
    bars: true,
    queries: queries.map(({ metric, by, legend }) => ({
      expr: `sum by (instance${by === undefined ? '' : `, ${by}`}) (${grownEach(metric, FLEET)})`,
      legend: `{{instance}}: ${legend}`,
    })),
    ...more,
  });
}

/** Are the numbers reliable, and if not, since when and why? */
export function tracer(): Dashboard {
  return createDashboard({
    name: 'tracer',
    description:
      'Whether the numbers are reliable: what is traced, what was lost at which hop, and what the tracer costs.',
    variables: [hostVariable()],
    matchers: FLEET,
    sections: [
      {
        panels: [
          notTracedPanel(FLEET, 4),
          statPanel({
            title: 'Oldest counters',
            description:
              'Age of the last read of the kernel maps, on the worst host. One second is usual. Replays are left out.',
            width: 4,
            height: 4,
            unit: 's',
            decimals: 1,
            queries: [
              {
                expr: `max(time() - vfio_dmabuf_last_map_read_timestamp_seconds{${FLEET}} and ${ON_HOST} vfio_dmabuf_source_info{${FLEET},kind="live"} and ${ON_HOST} vfio_dmabuf_up{${FLEET}} == 1)`,
              },
            ],
            steps: [
              [0, 'green'],
              [15, 'red'],
            ],
            empty: 'no live host is traced',
            links: [runbook('VfioDmabufCountersStale')],
          }),
          statPanel({
            title: 'Counters undercounting',
            description:
              'Calls that no counter has counted: skipped probes, missed returns, calls in flight at a handover, full maps.',
            width: 4,
            height: 4,
            queries: [
              {
                expr:
                  `sum(increase(vfio_dmabuf_counts_lost_total{${FLEET}}[$__range])) + ` +
                  `(sum(increase(vfio_dmabuf_missed_returns_total{${FLEET}}[$__range])) or vector(0))`,
              },
            ],
            steps: ZERO_OR_ALARM,
            empty: EMPTY,
            links: [runbook('VfioDmabufCountsIncomplete'), runbook('VfioDmabufMapFull')],
          }),
          statPanel({
            title: 'Events lost',
            description:
              'Events that were lost. Kernel counters stay right; buffers and incidents may be incomplete.',
            width: 4,
            height: 4,
            queries: [
              {
                expr: `sum(increase(vfio_dmabuf_events_lost_total{${FLEET}}[$__range]))`,
              },
            ],
            steps: ZERO_IS_GOOD,
            empty: EMPTY,
            links: [runbook('VfioDmabufEventsLost')],
          }),
          statPanel({
            title: 'Untraced time',
            description: 'Seconds in which nothing was traced, over all hosts.',
            width: 4,
            height: 4,
            unit: 's',
            queries: [{ expr: `sum(increase(vfio_dmabuf_blind_seconds_total{${FLEET}}[$__range]))` }],
            steps: ZERO_IS_GOOD,
            empty: EMPTY,
            links: [runbook('VfioDmabufBlindTime')],
          }),
          statPanel({
            title: 'Unconfirmed buffer state',
            description: 'Hosts without a complete snapshot since the last loss or blind time.',
            width: 4,
            height: 4,
            queries: [
              {
                expr: `count(vfio_dmabuf_buffer_state_exact{${FLEET}} == 0) or 0 * count(vfio_dmabuf_buffer_state_exact{${FLEET}})`,
              },
            ],
            steps: ZERO_IS_GOOD,
            empty: EMPTY,
            links: [runbook('VfioDmabufBufferStateInexact')],
          }),
          tablePanel({
            title: 'Tracers',
            description:
              'The tracer of each host. Source replay: a recording, not a host. Faults: losses that the tracer simulates.',
            width: 24,
            height: 8,
            queries: [
              { expr: `min by (cluster, instance) (${hostState(FLEET)})` },
              { expr: `group by (cluster, instance, version) (vfio_dmabuf_build_info{${FLEET}})` },
              {
                expr: `group by (cluster, instance, dialect, kernel, bpftrace) (vfio_dmabuf_kernel_dialect_info{${FLEET}})`,
              },
              { expr: `group by (cluster, instance, kind, name) (vfio_dmabuf_source_info{${FLEET}})` },
              { expr: `group by (cluster, instance, faults) (vfio_dmabuf_simulation_info{${FLEET}})` },
              { expr: `count by (cluster, instance) (vfio_dmabuf_probe_attached{${FLEET}} == 0)` },
              { expr: `sum by (cluster, instance) (vfio_dmabuf_events_unaccounted{${FLEET}})` },
              {
                expr: `max by (cluster, instance) (scrape_samples_scraped{${FLEET}} and ${ON_HOST} vfio_dmabuf_build_info{${FLEET}})`,
              },
              {
                expr: `max by (cluster, instance) (scrape_duration_seconds{${FLEET}} and ${ON_HOST} vfio_dmabuf_build_info{${FLEET}})`,
              },
            ],
            columns: [
              {
                from: 'instance',
                title: 'Host',
                links: [...hostLinks(ROW_HOST), toLivePageOfRow('Its status', 'api/v1/status')],
              },
              { from: 'cluster', title: 'Cluster' },
              { from: 'A', title: 'State', mappings: STATE_MAPPING, width: 90 },
              { from: 'version', title: 'Version' },
              { from: 'kernel', title: 'Kernel' },
              { from: 'dialect', title: 'Dialect' },
              { from: 'bpftrace', title: 'bpftrace' },
              { from: 'kind', title: 'Source', links: [runbook('VfioDmabufReplayScraped')] },
              { from: 'name', title: 'Name' },
              { from: 'faults', title: 'Faults', links: [runbook('VfioDmabufSimulationScraped')] },
              { from: 'F', title: 'ProbesMissing', links: [toLivePageOfRow('Why', 'api/v1/probes')] },
              { from: 'G', title: 'Unaccounted', steps: ZERO_IS_GOOD },
              { from: 'H', title: 'Samples' },
              { from: 'I', title: 'Scrape', unit: 's' },
            ],
            hide: ['B', 'C', 'D', 'E'],
            empty: EMPTY,
          }),
          stateTimeline(FLEET, 12, 8),
          tablePanel({
            title: 'Probes that are not attached',
            description:
              'Their metrics are absent, not zero. Some are not attached because the kernel lacks their functions. The link of a host shows the reason.',
            width: 12,
            height: 8,
            queries: [
              { expr: `count by (cluster, instance, probe) (vfio_dmabuf_probe_attached{${FLEET}} == 0)` },
            ],
            columns: [
              { from: 'probe', title: 'Probe', links: [runbook('VfioDmabufProbeMissing')] },
              { from: 'instance', title: 'Host', links: [toLivePageOfRow('Why', 'api/v1/probes')] },
              { from: 'cluster', title: 'Cluster' },
            ],
            hide: ['A'],
            empty: 'all probes are attached, or no host answers',
          }),
        ],
      },
      {
        title: 'Lost in the kernel and on the way',
        panels: [
          losses(
            'Losses, by hop',
            'Lost events, lost counts and missed returns in each interval, by the hop that lost them.',
            [
              { metric: 'vfio_dmabuf_events_lost_total', by: 'stage', legend: 'event: {{stage}}' },
              { metric: 'vfio_dmabuf_counts_lost_total', by: 'stage', legend: 'count: {{stage}}' },
              { metric: 'vfio_dmabuf_missed_returns_total', legend: 'count: missed return' },
            ],
            { links: [runbook('VfioDmabufEventsLost'), runbook('VfioDmabufCountsIncomplete')] },
          ),
          seriesPanel({
            title: 'Events unaccounted for',
            description:
              'Events printed before the last heartbeat that are neither received nor counted as lost. It returns to 0 when they are.',
            width: 8,
            height: 7,
            queries: [
              {
                expr: `sum by (instance) (vfio_dmabuf_events_unaccounted{${FLEET}})`,
                legend: '{{instance}}',
              },
            ],
            empty: EMPTY,
            links: [runbook('VfioDmabufEventsLost')],
          }),
          seriesPanel({
            title: 'Events, by kind',
            description: 'Events that arrived from the probes, per second.',
            width: 8,
            height: 7,
            unit: 'ops',
            queries: [
              {
                expr: `sum by (kind) (rate(vfio_dmabuf_events_total{${FLEET}}[$__rate_interval]))`,
                legend: '{{kind}}',
              },
            ],
            stack: true,
            empty: EMPTY,
          }),
          losses(
            'Lost lines of map reads',
            'Missing lines of the reads of the kernel maps. The next read repeats them, so counts are late and not wrong.',
            [{ metric: 'vfio_dmabuf_map_lines_lost_total', legend: 'lines' }],
            { links: [runbook('VfioDmabufCountersStale')] },
          ),
          losses(
            'Undecodable lines',
            'Lines that could not be decoded, or that this version does not know, in each interval.',
            [
              { metric: 'vfio_dmabuf_decode_errors_total', by: 'reason', legend: '{{reason}}' },
              { metric: 'vfio_dmabuf_unknown_records_total', legend: 'unknown record' },
            ],
          ),
          losses('bpftrace errors', 'Failed BPF helpers, and reports of losses by bpftrace.', [
            { metric: 'vfio_dmabuf_helper_errors_total', legend: 'helper error' },
            { metric: 'vfio_dmabuf_loss_reports_total', legend: 'loss report' },
          ]),
          losses(
            'Restarts of bpftrace',
            'Children that replaced one that had ended, by the reason of the end. handed_over is planned and causes no blind time.',
            [{ metric: 'vfio_dmabuf_collector_restarts_total', by: 'reason', legend: '{{reason}}' }],
            { links: [runbook('VfioDmabufBlindTime')] },
          ),
          losses(
            'Blind time',
            'Seconds of each interval in which nothing was traced.',
            [{ metric: 'vfio_dmabuf_blind_seconds_total', legend: 'blind' }],
            { unit: 's' },
          ),
          losses(
            'Blind time of single probes',
            'Seconds of each interval in which a probe was not attached because its module was loaded or reloaded. Its counters are too low.',
            [{ metric: 'vfio_dmabuf_probe_blind_seconds_total', by: 'probe', legend: '{{probe}}' }],
            { unit: 's', links: [runbook('VfioDmabufProbeBlindTime')] },
          ),
        ],
      },
      {
        title: 'Lost in the server',
        panels: [
          seriesPanel({
            title: 'Series folded',
            description:
              'Label sets that were added to the series `other` because the family is at its limit: of gauges now, of counters since the start of the child.',
            width: 8,
            height: 7,
            queries: [
              {
                expr: `sum by (instance, metric) (vfio_dmabuf_series_folded{${FLEET}})`,
                legend: '{{instance}}: {{metric}}',
              },
              {
                expr: `sum by (instance, metric) (vfio_dmabuf_series_folded_total{${FLEET}})`,
                legend: '{{instance}}: {{metric}}',
              },
            ],
            empty: EMPTY,
            links: [runbook('VfioDmabufSeriesFolded')],
          }),
          losses(
            'Events dropped by the server',
            'event_log: evicted for newer events, which is normal once the log is full. sse: a client was too slow. subscriber: a defect.',
            [
              { metric: 'vfio_dmabuf_events_dropped_total', by: 'stage', legend: '{{stage}}' },
              { metric: 'vfio_dmabuf_recording_lines_dropped_total', legend: 'recording' },
              { metric: 'vfio_dmabuf_events_output_dropped_total', legend: 'event output' },
            ],
            { links: [runbook('VfioDmabufRecordingFailed'), runbook('VfioDmabufEventOutputFailed')] },
          ),
          losses(
            'Failed reads of the host',
            'Failed reads of /proc and /sys, by what was read. The old values are kept.',
            [{ metric: 'vfio_dmabuf_host_read_errors_total', by: 'source', legend: '{{source}}' }],
            { links: [runbook('VfioDmabufHostReadErrors')] },
          ),
          seriesPanel({
            title: 'Recording and event output',
            description:
              '1 while the recording or the event output can be written, else 0. Empty if neither is used.',
            width: 8,
            height: 7,
            queries: [
              ['recording_up', 'recording'],
              ['events_output_up', 'event output'],
            ].map(([metric, what]) => ({
              expr: `min by (instance) (vfio_dmabuf_${metric}{${FLEET}})`,
              legend: `{{instance}}: ${what}`,
            })),
            empty: EMPTY,
            links: [runbook('VfioDmabufRecordingFailed'), runbook('VfioDmabufEventOutputFailed')],
          }),
          losses(
            'Rejected by the server',
            'Stream clients that were rejected or disconnected, rejected scrapes, closed connections, and requests without access.',
            [
              { metric: 'vfio_dmabuf_scrapes_rejected_total', legend: 'scrape' },
              ...[
                { metric: 'vfio_dmabuf_stream_clients_rejected_total', what: 'stream' },
                { metric: 'vfio_dmabuf_http_connections_dropped_total', what: 'connection' },
                { metric: 'vfio_dmabuf_http_requests_rejected_total', what: 'request' },
              ].map(({ metric, what }) => ({ metric, by: 'reason', legend: `${what} {{reason}}` })),
            ],
          ),
        ],
      },
      {
        title: 'Daemon resources (without bpftrace)',
        panels: [
          seriesPanel({
            title: 'Processor time of the daemon',
            description:
              'Processor seconds that the daemon uses, per second, without its bpftrace child and the probes in the kernel.',
            width: 8,
            height: 7,
            unit: 'percentunit',
            queries: [
              {
                expr: `sum by (instance) (rate(process_cpu_seconds_total{${FLEET}}[$__rate_interval]) and ${ON_HOST} vfio_dmabuf_build_info{${FLEET}})`,
                legend: '{{instance}}',
              },
            ],
            empty: 'no host serves process metrics (web.disable-exporter-metrics)',
          }),
          seriesPanel({
            title: 'Memory of the daemon',
            description: 'Resident memory of the daemon, without its bpftrace child.',
            width: 8,
            height: 7,
            unit: 'bytes',
            queries: [
              {
                expr: `sum by (instance) (process_resident_memory_bytes{${FLEET}} and ${ON_HOST} vfio_dmabuf_build_info{${FLEET}})`,
                legend: '{{instance}}',
              },
            ],
            empty: 'no host serves process metrics (web.disable-exporter-metrics)',
          }),
          seriesPanel({
            title: 'Delay of the event loop, p99',
            description:
              '99th percentile of the delay of the event loop of the daemon. If it is high, lines wait and scrapes are slow.',
            width: 8,
            height: 7,
            unit: 's',
            queries: [
              {
                expr: `max by (instance) (nodejs_eventloop_lag_p99_seconds{${FLEET}} and ${ON_HOST} vfio_dmabuf_build_info{${FLEET}})`,
                legend: '{{instance}}',
              },
            ],
            empty: 'no host serves process metrics (web.disable-exporter-metrics)',
          }),
        ],
      },
    ],
  });
}
