import { type Static, Type } from 'typebox';
import { ALL_KINDS, RESULTS } from '../contract/events.ts';
import { DEVICE_ADDRESS, DEVICE_ADDRESS_TEXT } from '../lib/device-address.ts';
import { FAULTS_EXAMPLE, FAULTS_HELP } from '../lib/faults.ts';
import { LOG_FORMATS, LOG_LEVELS } from '../lib/log-options.ts';

/**
 * All settings. The key is the name of the flag and the dotted path in the file. Upper-cased and prefixed with
 * VFIO_DMABUF_TRACER_, it is the name of the environment variable.
 */
export const Config = Type.Object(
  {
    'web.listen-address': Type.Array(
      Type.String({
        pattern: '^(\\[[0-9a-fA-F:.]+\\]|[^:/\\s]*):\\d{1,5}$',
        description: 'HOST:PORT, e.g. 127.0.0.1:10043 or [::1]:10043, port 0 to 65535',
      }),
      {
        default: ['127.0.0.1:10043'],
        minItems: 1,
        description:
          'HOST:PORT to serve on, may be given more than once; an empty host means all interfaces, a name means all its addresses',
      },
    ),
    'web.systemd-socket': Type.Boolean({
      default: false,
      description: 'serve on the sockets that systemd has opened, instead of web.listen-address',
    }),
    'web.allowed-hosts': Type.Array(
      Type.String({
        pattern: '^(\\*|(\\*\\.)?[^\\s:/?#@*\\\\\\[\\]]+)$',
        description: 'NAME without a port, *.DOMAIN, or * for any name',
      }),
      {
        default: [],
        description:
          'host names that clients may use for this server, may be given more than once; always allowed are IP addresses, localhost, ' +
          'the names in web.listen-address, and on a non-loopback address the names of this host',
      },
    ),
    'web.telemetry-path': Type.String({
      default: '/metrics',
      pattern: '^/[A-Za-z0-9._~/-]+$',
      description: 'HTTP path of the metrics',
    }),
    'web.max-requests': Type.Integer({
      default: 40,
      minimum: 0,
      maximum: 10_000,
      description: 'maximum number of concurrent scrapes, 0 for no limit; a scrape beyond it gets a 503',
    }),
    'web.config.file': Type.String({
      default: '',
      description:
        'file with TLS, users, headers and rate limit, in the format of Prometheus exporters (docs/web-config.md)',
    }),
    'web.enable-lifecycle': Type.Boolean({
      default: false,
      description: 'reload the settings on POST /-/reload; SIGHUP always does',
    }),
    'web.disable-exporter-metrics': Type.Boolean({
      default: false,
      description: 'leave out the metrics of the tracer process (process_*, nodejs_*)',
    }),
    'server-user': Type.String({
      default: '65534:65534',
      pattern: '^[^:\\s]+(:[^:\\s]+)?$',
      description:
        'USER[:GROUP] of the server if root starts `run`, each a name or a number; this user must be able to read the program, the settings file, and the files of web.config.file',
    }),
    'log.level': Type.Enum([...LOG_LEVELS], {
      default: 'info',
      description: 'minimum severity that is logged',
    }),
    'log.format': Type.Enum([...LOG_FORMATS], {
      default: 'auto',
      description: 'auto means pretty on a terminal, json otherwise',
    }),
    strict: Type.Boolean({
      default: false,
      description: 'exit with 3 if the host cannot be traced, instead of waiting until it can',
    }),
    record: Type.String({
      default: '',
      description: 'also record the stream to this file while serving, compressed if its name ends in .gz',
    }),
    overwrite: Type.Boolean({
      default: false,
      description:
        'replace an existing recording; without it, `record` exits with an error, and `run` numbers the new file',
    }),
    'bpftrace.path': Type.String({
      default: 'bpftrace',
      minLength: 1,
      description: 'the bpftrace to run: a path, or a name to look up in PATH',
    }),
    'bpftrace.map-keys': Type.Integer({
      default: 4096,
      minimum: 64,
      maximum: 1_048_576,
      description: 'maximum number of keys in each kernel map; a full map is counted as a loss',
    }),
    'collector.socket': Type.String({
      default: '/run/vfio-dmabuf-tracer/stream.sock',
      minLength: 1,
      description: 'path of the unix socket on which `collect` passes its stream on',
    }),
    'collector.group': Type.String({
      default: '',
      pattern: '^([A-Za-z_][A-Za-z0-9_.-]*[$]?|[0-9]{1,10})?$',
      description:
        'group whose members may read the stream from the socket, a name or a number; default: the group of the collector',
    }),
    simulate: Type.String({
      default: '',
      description: `inject faults to test alerts, e.g. ${FAULTS_EXAMPLE}; ${FAULTS_HELP}`,
    }),
    'stale-after': Type.Number({
      default: 10,
      minimum: 1,
      maximum: 3600,
      description: 'the daemon is not ready after this many seconds without a counter read',
    }),
    'events.keep': Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'number of events kept in memory, for /api/v1/events and for resumed streams',
    }),
    'events.output': Type.String({
      default: '',
      description:
        'also write each event as one line of JSON to this file or named pipe (docs/event-output.md); `-` is standard output, ' +
        'and log lines then go to standard error',
    }),
    'events.output-kinds': Type.Array(
      Type.Enum([...ALL_KINDS], { description: `one of ${ALL_KINDS.join(', ')}` }),
      {
        default: [],
        description: `write only events of this kind to events.output, may be given more than once: ${ALL_KINDS.join(', ')}`,
      },
    ),
    'events.output-results': Type.Array(
      Type.Enum([...RESULTS], { description: `one of ${RESULTS.join(', ')}` }),
      {
        default: [],
        description:
          'write only events with this result to events.output, may be given more than once: ok (errno 0), failed (any other ' +
          'errno); events without an errno are left out then',
      },
    ),
    'events.output-devices': Type.Array(
      Type.String({ pattern: DEVICE_ADDRESS, description: DEVICE_ADDRESS_TEXT }),
      {
        default: [],
        description:
          'write only events of this PCI device to events.output, may be given more than once: a PCI address, or unknown',
      },
    ),
    'metrics.max-series': Type.Integer({
      default: 2000,
      minimum: 10,
      maximum: 100_000,
      description:
        'maximum number N of series of a metric; a histogram may have N/4 label sets; further ones are folded into one series with the label value `other`',
    }),
    'metrics.keep-departed': Type.Number({
      default: 900,
      minimum: 0,
      maximum: 604_800,
      description: 'seconds for which the series of a device or VM are kept after its departure',
    }),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
export type ConfigKey = keyof Config;

/** The part of a key's schema that parsing and help use. */
export interface KeySchema {
  type?: string;
  enum?: readonly string[];
  items?: { pattern?: string; description: string };
  minimum?: number;
  maximum?: number;
  pattern?: string;
  default: unknown;
  description: string;
}

export const CONFIG_KEYS = Object.keys(Config.properties) as readonly ConfigKey[];

export function keySchema(key: ConfigKey): KeySchema {
  return Config.properties[key] as unknown as KeySchema;
}

export function isConfigKey(key: string): key is ConfigKey {
  return Object.hasOwn(Config.properties, key);
}

export function environmentName(key: ConfigKey | 'config.file'): string {
  return `VFIO_DMABUF_TRACER_${key.toUpperCase().replaceAll(/[.-]/g, '_')}`;
}
