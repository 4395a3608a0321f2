import { type Static, Type } from 'typebox';
import { FAULTS_HELP } from '../support/faults.ts';
import { LOG_FORMATS, LOG_LEVELS } from '../support/log-options.ts';

/**
 * Every setting once. The key is the name of the flag, the dotted path in the file, and, upper-cased behind
 * VFIO_DMABUF_TRACER_, the name of the environment variable.
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
          'HOST:PORT to serve on, may be given more than once; an empty host is every interface, a name all its addresses',
      },
    ),
    'web.allowed-hosts': Type.Array(
      Type.String({
        pattern: '^(\\*|(\\*\\.)?[^\\s:/?#@*\\\\\\[\\]]+)$',
        description: 'NAME without a port, *.DOMAIN, or * for any name',
      }),
      {
        default: [],
        description:
          'names that clients use for this server, may be given more than once; IP addresses, localhost and the names of ' +
          'web.listen-address are always allowed, and on a non-loopback address the names of this host',
      },
    ),
    'web.telemetry-path': Type.String({
      default: '/metrics',
      pattern: '^/[A-Za-z0-9._~/-]+$',
      description: 'path of the metrics',
    }),
    'web.max-requests': Type.Integer({
      default: 40,
      minimum: 0,
      maximum: 10_000,
      description: 'scrapes answered at the same time, 0 for no limit; one more gets a 503',
    }),
    'web.disable-exporter-metrics': Type.Boolean({
      default: false,
      description: 'leave out the metrics of this process itself (process_*, nodejs_*)',
    }),
    'log.level': Type.Enum([...LOG_LEVELS], {
      default: 'info',
      description: 'least severity that is logged',
    }),
    'log.format': Type.Enum([...LOG_FORMATS], {
      default: 'auto',
      description: 'auto is pretty on a terminal and json elsewhere',
    }),
    strict: Type.Boolean({
      default: false,
      description: 'exit with 3 where the host cannot be traced, in place of serving `up 0`',
    }),
    record: Type.String({
      default: '',
      description: 'also write the stream to this file while serving, compressed where its name ends in .gz',
    }),
    overwrite: Type.Boolean({
      default: false,
      description:
        'replace a recording that exists; without it `record` ends with an error, and `run` numbers the new file',
    }),
    'bpftrace.path': Type.String({
      default: 'bpftrace',
      minLength: 1,
      description: 'the bpftrace to run: a path, or a name looked up in PATH',
    }),
    'bpftrace.map-keys': Type.Integer({
      default: 4096,
      minimum: 64,
      maximum: 1_048_576,
      description: 'keys that each kernel map can hold; a full map is counted as a loss',
    }),
    simulate: Type.String({
      default: '',
      description: `make faults, so that alerts can be tried: ${FAULTS_HELP}`,
    }),
    'stale-after': Type.Number({
      default: 10,
      minimum: 1,
      maximum: 3600,
      description: 'seconds without a read of the counters after which the daemon is not ready',
    }),
    'events.keep': Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'events kept in memory for /api/v1/events and for resumed streams',
    }),
    'metrics.max-series': Type.Integer({
      default: 2000,
      minimum: 10,
      maximum: 100_000,
      description:
        'series of one metric, and four times the label sets of a histogram; what is beyond is folded into one with the label value `other`',
    }),
    'metrics.keep-departed': Type.Number({
      default: 900,
      minimum: 0,
      maximum: 604_800,
      description: 'seconds that the series of a device or a VM stay after it has gone',
    }),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
export type ConfigKey = keyof Config;

/** What a key's schema says, in the few words that parsing and help need. */
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
