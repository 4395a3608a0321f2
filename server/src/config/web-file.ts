import { type Static, Type } from 'typebox';
import type { Problem } from '../lib/problems.ts';
import { readYaml } from './yaml-file.ts';

/** Go's names of the cipher suites of TLS 1.2 that its crypto/tls calls secure, and OpenSSL's names for them. */
export const CIPHER_SUITES = {
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
} as const;

/** The suites of TLS 1.3. Go always offers all of them, also when `cipher_suites` names others. */
export const TLS13_SUITES = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
] as const;

/** Go's names of the curves, and OpenSSL's. */
export const CURVES = {
  X25519: 'X25519',
  CurveP256: 'P-256',
  CurveP384: 'P-384',
  CurveP521: 'P-521',
} as const;

const keysOf = <T extends object>(map: T) => Object.keys(map) as (keyof T & string)[];

const CLIENT_AUTH_TYPES = [
  'NoClientCert',
  'RequestClientCert',
  'RequireClientCert',
  'RequireAnyClientCert',
  'VerifyClientCertIfGiven',
  'RequireAndVerifyClientCert',
] as const;

const Switch = Type.Enum(['true', 'false'], { description: 'write true or false' });
const Version = Type.Enum(['TLS12', 'TLS13'], {
  description: 'write TLS12 or TLS13: this program serves no older version',
});
const Text = Type.String({ description: 'give a text' });
const closed = { additionalProperties: false } as const;

/** The web configuration file of prometheus/exporter-toolkit (docs/web-configuration.md there). All values are texts. */
const WebFile = Type.Object(
  {
    tls_server_config: Type.Optional(
      Type.Object(
        {
          cert: Type.Optional(Text),
          key: Type.Optional(Text),
          client_ca: Type.Optional(Text),
          cert_file: Type.Optional(Text),
          key_file: Type.Optional(Text),
          client_ca_file: Type.Optional(Text),
          client_auth_type: Type.Optional(Type.Enum([...CLIENT_AUTH_TYPES])),
          client_allowed_sans: Type.Optional(Type.Array(Text)),
          min_version: Type.Optional(Version),
          max_version: Type.Optional(Version),
          cipher_suites: Type.Optional(Type.Array(Type.Enum([...keysOf(CIPHER_SUITES), ...TLS13_SUITES]))),
          prefer_server_cipher_suites: Type.Optional(Switch),
          curve_preferences: Type.Optional(Type.Array(Type.Enum(keysOf(CURVES)))),
        },
        closed,
      ),
    ),
    http_server_config: Type.Optional(
      Type.Object(
        {
          http2: Type.Optional(
            Type.Enum(['false'], {
              description:
                'leave it out, or write false: this program serves HTTP/1.1, which every client accepts',
            }),
          ),
          headers: Type.Optional(
            Type.Object(
              {
                'Content-Security-Policy': Type.Optional(Text),
                'X-Frame-Options': Type.Optional(Type.Enum(['deny', 'sameorigin'])),
                'X-Content-Type-Options': Type.Optional(Type.Enum(['nosniff'])),
                'X-XSS-Protection': Type.Optional(Text),
                'Strict-Transport-Security': Type.Optional(Text),
              },
              closed,
            ),
          ),
        },
        closed,
      ),
    ),
    basic_auth_users: Type.Optional(
      Type.Record(
        Type.String(),
        Type.String({
          pattern: '^\\$2[aby]\\$(0[4-9]|[12]\\d|3[01])\\$[./A-Za-z0-9]{53}$',
          description:
            'give a bcrypt hash, such as `htpasswd -nBC 10 ""` prints: $2y$10$ and 53 more characters',
        }),
      ),
    ),
    rate_limit: Type.Optional(
      Type.Object(
        {
          interval: Type.Optional(
            Type.String({
              pattern: '^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$',
              description: 'give a duration, such as 50ms or 1s; 0 turns the limit off',
            }),
          ),
          burst: Type.Optional(
            Type.String({
              pattern: '^[0-9]{1,9}$',
              description: 'give a whole number of requests from 0 to 999999999',
            }),
          ),
        },
        closed,
      ),
    ),
  },
  closed,
);
type WebFile = Static<typeof WebFile>;

export type ClientAuth = (typeof CLIENT_AUTH_TYPES)[number];

/** A text of the file, or the path of a file that has it. */
export type Pem = { text: string; key: string } | { path: string; key: string };

export interface TlsSettings {
  cert: Pem;
  key: Pem;
  clientCa: Pem | undefined;
  clientAuth: ClientAuth;
  /** A client certificate must have one of these subject alternative names. Undefined: any. */
  allowedSans: readonly string[] | undefined;
  minVersion: 'TLSv1.2' | 'TLSv1.3';
  maxVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Suites as OpenSSL names them, joined by colons. */
  ciphers: string;
  preferServerCiphers: boolean;
  /** Curves as OpenSSL names them, joined by colons; `auto` for the default of OpenSSL. */
  curves: string;
}

export interface WebSettings {
  tls: TlsSettings | undefined;
  /** Headers of every answer. */
  headers: Readonly<Record<string, string>>;
  /** bcrypt hashes by user. Without users every request is allowed. */
  users: ReadonlyMap<string, string>;
  rateLimit: { intervalMs: number; burst: number } | undefined;
}

export const NO_WEB_SETTINGS: WebSettings = {
  tls: undefined,
  headers: {},
  users: new Map(),
  rateLimit: undefined,
};

/** Parses the text of a web configuration file. Reads no other file. */
export function parseWebFile(
  text: string,
  path: string,
): { settings: WebSettings } | { problems: Problem[] } {
  const { value, problems, at } = readYaml(text, path, WebFile);
  if (value === undefined) return { problems };
  const {
    tls_server_config: tls,
    http_server_config: http,
    basic_auth_users: users = {},
    rate_limit,
  } = value;
  const report = (keys: readonly string[], what: string, remedy: string): void => {
    problems.push({ what, where: at(keys), remedy });
  };
  const colon = Object.keys(users).find((user) => user.includes(':'));
  if (colon !== undefined) {
    report(['basic_auth_users'], 'a user name has a colon', 'choose a name without one: HTTP cannot send it');
  }
  const settings: WebSettings = {
    // A section without keys is ignored, as in the main config.
    tls: tls === undefined || Object.keys(tls).length === 0 ? undefined : tlsOf(tls, report),
    headers: (http?.headers ?? {}) as Record<string, string>,
    users: new Map(Object.entries(users)),
    rateLimit: rateLimitOf(rate_limit, report),
  };
  return problems.length > 0 ? { problems } : { settings };
}

type Report = (keys: readonly string[], what: string, remedy: string) => void;

function tlsOf(tls: NonNullable<WebFile['tls_server_config']>, report: Report): TlsSettings | undefined {
  const section = 'tls_server_config';
  const pem = (name: 'cert' | 'key' | 'client_ca'): Pem | undefined => {
    const text = tls[name];
    const path = tls[`${name}_file`];
    if (text !== undefined && path !== undefined) {
      report([section, name], `${name} and ${name}_file are both given`, 'keep one of them');
    }
    if (path !== undefined) return { path, key: `${name}_file` };
    return text === undefined ? undefined : { text, key: name };
  };
  const [cert, key, clientCa] = [pem('cert'), pem('key'), pem('client_ca')];
  for (const [name, given] of [
    ['cert', cert],
    ['key', key],
  ] as const) {
    if (given === undefined)
      report([section], `${section} has no ${name}_file`, `add ${name}_file, or ${name}`);
  }
  const clientAuth = tls.client_auth_type ?? 'NoClientCert';
  const verifies = clientAuth.includes('Verify');
  if (clientCa !== undefined && clientAuth === 'NoClientCert') {
    report([section, clientCa.key], 'a client CA is given, but no client_auth_type', 'add client_auth_type');
  }
  if (verifies && clientCa === undefined) {
    report(
      [section, 'client_auth_type'],
      `${clientAuth} needs client_ca_file`,
      'name the CA of the clients: the CAs of the system are not used, because each of them could issue a certificate',
    );
  }
  const allowedSans = tls.client_allowed_sans;
  if (allowedSans !== undefined && !clientAuth.startsWith('Require')) {
    report(
      [section, 'client_allowed_sans'],
      `client_allowed_sans has no effect with ${clientAuth}`,
      'use RequireAndVerifyClientCert: other types also accept clients without a certificate',
    );
  }
  if (allowedSans?.length === 0) {
    report([section, 'client_allowed_sans'], 'client_allowed_sans is empty', 'add a name, or leave it out');
  }
  const minVersion = tls.min_version === 'TLS13' ? 'TLSv1.3' : 'TLSv1.2';
  const maxVersion = tls.max_version === 'TLS12' ? 'TLSv1.2' : 'TLSv1.3';
  if (minVersion > maxVersion) {
    report([section, 'min_version'], 'min_version is above max_version', 'swap them, or leave one out');
  }
  const wanted = tls.cipher_suites ?? [];
  const older = (wanted.length === 0 ? keysOf(CIPHER_SUITES) : wanted).flatMap((name) =>
    name in CIPHER_SUITES ? [CIPHER_SUITES[name as keyof typeof CIPHER_SUITES]] : [],
  );
  if (older.length === 0 && maxVersion === 'TLSv1.2') {
    report(
      [section, 'cipher_suites'],
      'cipher_suites has no suite of TLS 1.2',
      'add one, or leave out max_version',
    );
  }
  if (cert === undefined || key === undefined) return undefined;
  return {
    cert,
    key,
    clientCa,
    clientAuth,
    allowedSans,
    minVersion,
    maxVersion,
    ciphers: [...TLS13_SUITES, ...older].join(':'),
    preferServerCiphers: tls.prefer_server_cipher_suites !== 'false',
    curves: (tls.curve_preferences ?? []).map((name) => CURVES[name]).join(':') || 'auto',
  };
}

const UNIT_MS = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

function rateLimitOf(limit: WebFile['rate_limit'], report: Report): WebSettings['rateLimit'] {
  const { interval = '0', burst = '0' } = limit ?? {};
  const intervalMs = [...interval.matchAll(/([0-9.]+)(ns|us|µs|ms|s|m|h)/g)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * UNIT_MS[unit as keyof typeof UNIT_MS],
    0,
  );
  if (intervalMs === 0) return undefined;
  if (Number(burst) === 0) {
    report(['rate_limit'], 'rate_limit has no burst, so it rejects every request', 'add burst: 20');
  }
  return { intervalMs, burst: Number(burst) };
}
