import type { ScrapeCounters } from './http/plugin.ts';
import type { HttpServer } from './http/server.ts';
import type { StreamHub } from './http/sse/hub.ts';
import type { Access } from './http/web/access.ts';
import type { LastReload } from './lib/last-reload.ts';
import type { Catalogue } from './metrics/catalogue.ts';
import { byKey, single } from './metrics/family.ts';
import type { EventLog } from './sinks/event-log.ts';
import type { EventOutput } from './sinks/event-output.ts';

export interface ServerFamiliesOptions {
  events: EventLog;
  /** Null without `events.output`: its families are absent. */
  output: EventOutput | null;
  hub: StreamHub;
  scrapes: ScrapeCounters;
  access: Access;
  /** A function, because the server is created after the catalogue. */
  server: () => HttpServer;
  subscriberErrors: () => number;
  /** The last reload of each file; undefined if the file is not used. */
  reloads: () => Readonly<Record<'config' | 'web_config', LastReload | undefined>>;
}

/** Metrics of the server itself. Their values do not come from the stream. */
export function addServerFamilies(catalogue: Catalogue, options: ServerFamiliesOptions): void {
  const { events, output, hub, scrapes, access, server, subscriberErrors, reloads } = options;
  catalogue.add({
    name: 'events_dropped_total',
    help: 'Events that this server dropped after it had counted them.',
    type: 'counter',
    samples: () => [
      { labels: { stage: 'event_log' }, value: events.dropped },
      { labels: { stage: 'sse' }, value: hub.dropped },
      { labels: { stage: 'subscriber' }, value: subscriberErrors() },
    ],
  });
  if (output !== null) addOutputFamilies(catalogue, output);
  catalogue.add({
    name: 'stream_clients',
    help: 'Clients of /api/v1/stream.',
    type: 'gauge',
    samples: () => [{ labels: {}, value: hub.clients }],
  });
  catalogue.add({
    name: 'stream_clients_rejected_total',
    help: 'Clients of /api/v1/stream that got a 503 (full) or were disconnected because they read nothing for a minute (stalled).',
    type: 'counter',
    samples: () => [
      { labels: { reason: 'full' }, value: hub.rejected },
      { labels: { reason: 'stalled' }, value: hub.stalled },
    ],
  });
  catalogue.add({
    name: 'scrapes_rejected_total',
    help: 'Scrapes that got a 503 because of web.max-requests.',
    type: 'counter',
    samples: () => [{ labels: {}, value: scrapes.rejected }],
  });
  catalogue.add({
    name: 'http_connections',
    help: 'Open connections of HTTP clients.',
    type: 'gauge',
    samples: () => [{ labels: {}, value: server().connections.size }],
  });
  catalogue.add({
    name: 'http_connections_dropped_total',
    help: 'Connections of HTTP clients that the server closed: idle at the limit of connections (limit), did not read an answer within 30 s (slow) or while too many bytes waited (memory), had too many waiting requests (pipelining), or failed in the TLS handshake or were not allowed by their certificate (tls).',
    type: 'counter',
    samples: () => byKey('reason', server().connections.dropped),
  });
  catalogue.add({
    name: 'http_requests_rejected_total',
    help: 'Requests that the web configuration file did not allow: more than rate_limit (rate_limit), without a user (no_credentials), with a wrong user or password (wrong_credentials), or while too many passwords waited for their check (busy).',
    type: 'counter',
    samples: () => byKey('reason', access.rejected),
  });
  const reloaded = (value: (reload: LastReload) => number) =>
    Object.entries(reloads()).flatMap(([file, reload]) =>
      reload === undefined ? [] : [{ labels: { file }, value: value(reload) }],
    );
  catalogue.add({
    name: 'config_last_reload_successful',
    help: '1 if the last read of the settings (config) or of the web configuration file (web_config) was successful; 0: the old ones are still used.',
    type: 'gauge',
    samples: () => reloaded(({ successful }) => (successful ? 1 : 0)),
  });
  catalogue.add({
    name: 'config_last_reload_success_timestamp_seconds',
    help: 'Time of the last successful read of the settings (config) or of the web configuration file (web_config), in seconds since 1970.',
    type: 'gauge',
    samples: () => reloaded(({ successMs }) => successMs / 1000),
  });
}

function addOutputFamilies(catalogue: Catalogue, output: EventOutput): void {
  catalogue.add({
    name: 'events_output_written_total',
    help: 'Events written to events.output.',
    type: 'counter',
    samples: () => single(output.written),
  });
  catalogue.add({
    name: 'events_output_dropped_total',
    help: 'Events that passed the filters of events.output, but were dropped because too many bytes waited to be written.',
    type: 'counter',
    samples: () => single(output.dropped),
  });
  catalogue.add({
    name: 'events_output_up',
    help: '1 if events can be written to events.output; 0: the last try to open or write it failed, or a named pipe has no reader yet.',
    type: 'gauge',
    samples: () => single(output.up ? 1 : 0),
  });
}
