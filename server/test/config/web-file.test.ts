import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CIPHER_SUITES, parseWebFile, TLS13_SUITES, type WebSettings } from '../../src/config/web-file.ts';
import { HASH_OF_SECRET } from '../fixtures/web-config.ts';

const TLS = 'tls_server_config:\n  cert_file: a.pem\n  key_file: a.key\n';

function settingsOf(text: string): WebSettings {
  const parsed = parseWebFile(text, 'web.yml');
  if ('problems' in parsed) return assert.fail(JSON.stringify(parsed.problems));
  return parsed.settings;
}

for (const text of ['', '\n# nothing\n', 'tls_server_config:\nbasic_auth_users:\nhttp_server_config: {}\n']) {
  test(`${JSON.stringify(text)} has no TLS, no users, no headers and no limit`, () => {
    assert.deepEqual(settingsOf(text), {
      tls: undefined,
      headers: {},
      users: new Map(),
      rateLimit: undefined,
    });
  });
}

test('without more keys TLS has the defaults of exporter-toolkit', () => {
  assert.deepEqual(settingsOf(TLS).tls, {
    cert: { path: 'a.pem', key: 'cert_file' },
    key: { path: 'a.key', key: 'key_file' },
    clientCa: undefined,
    clientAuth: 'NoClientCert',
    allowedSans: undefined,
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    ciphers: [...TLS13_SUITES, ...Object.values(CIPHER_SUITES)].join(':'),
    preferServerCiphers: true,
    curves: 'auto',
  });
});

test('all keys of exporter-toolkit that Node can honour are read', () => {
  const settings = settingsOf(`tls_server_config:
  cert: "-----BEGIN CERTIFICATE-----"
  key: |
    -----BEGIN PRIVATE KEY-----
  client_auth_type: RequireAndVerifyClientCert
  client_ca: x
  client_allowed_sans:
    - prometheus.example
    - 10.0.0.7
  min_version: TLS12
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP521, X25519]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    X-XSS-Protection: 1
    X-Content-Type-Options: nosniff
    Strict-Transport-Security: max-age=31536000; includeSubDomains
    Content-Security-Policy: ""
basic_auth_users:
  alice: ${HASH_OF_SECRET}
  "7": ${HASH_OF_SECRET}
rate_limit:
  interval: 1m30s
  burst: 20
`);
  assert.deepEqual(settings.tls, {
    cert: { text: '-----BEGIN CERTIFICATE-----', key: 'cert' },
    key: { text: '-----BEGIN PRIVATE KEY-----\n', key: 'key' },
    clientCa: { text: 'x', key: 'client_ca' },
    clientAuth: 'RequireAndVerifyClientCert',
    allowedSans: ['prometheus.example', '10.0.0.7'],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.2',
    ciphers: `${TLS13_SUITES.join(':')}:ECDHE-RSA-AES256-GCM-SHA384`,
    preferServerCiphers: false,
    curves: 'P-521:X25519',
  });
  assert.deepEqual(settings.headers, {
    'X-Frame-Options': 'deny',
    'X-XSS-Protection': '1',
    'X-Content-Type-Options': 'nosniff',
    'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  });
  assert.deepEqual([...settings.users.keys()].sort(), ['7', 'alice']);
  assert.deepEqual(settings.rateLimit, { intervalMs: 90_000, burst: 20 });
});

test('an interval of 0 turns the rate limit off', () => {
  assert.equal(settingsOf('rate_limit: {interval: 0, burst: 20}').rateLimit, undefined);
  assert.equal(settingsOf('rate_limit: {interval: 0s}').rateLimit, undefined);
});

for (const [text, where, what, remedy] of [
  ['tls_server_config:\n  cert_fiel: a', '2:14', /cert_fiel is not a key/, /did you mean cert_file\?/],
  ['basic_auth: {}', '1:13', /basic_auth is not a key/, /basic_auth_users/],
  ['some words', '1:1', /not a map/, /./],
  ['a: [', '1:5', /not valid YAML/, /syntax/],
  ['tls_server_config:\n  min_version: TLS13', '2:3', /no cert_file/, /cert_file/],
  ['tls_server_config:\n  cert_file: a', '2:3', /no key_file/, /key_file/],
  ['tls_server_config:\n  cert_file: ""\n  key_file: a', '2:3', /no cert_file/, /cert_file/],
  [`${TLS}  cert: x`, '4:9', /cert and cert_file are both given/, /keep one/],
  [`${TLS}  client_auth_type: Always`, '4:21', /cannot be "Always"/, /RequireAndVerifyClientCert/],
  [`${TLS}  client_ca_file: ca.pem`, '4:19', /no client_auth_type/, /client_auth_type/],
  [`${TLS}  client_auth_type: RequireAndVerifyClientCert`, '4:21', /needs client_ca_file/, /name the CA/],
  [`${TLS}  client_auth_type: VerifyClientCertIfGiven`, '4:21', /needs client_ca_file/, /name the CA/],
  [
    `${TLS}  client_auth_type: RequestClientCert\n  client_allowed_sans: [a]`,
    '5:24',
    /no effect/,
    /RequireAnd/,
  ],
  [
    `${TLS}  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: []`,
    '5:24',
    /is empty/,
    /add a name/,
  ],
  [`${TLS}  min_version: TLS10`, '4:16', /cannot be "TLS10"/, /no older version/],
  [`${TLS}  min_version: TLS13\n  max_version: TLS12`, '4:16', /above max_version/, /swap/],
  [`${TLS}  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]`, '4:19', /TLS_RSA_WITH_RC4_128_SHA/, /TLS_ECDHE/],
  [
    `${TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12`,
    '4:18',
    /no suite of TLS 1.2/,
    /add/,
  ],
  [`${TLS}  curve_preferences: [CurveP257]`, '4:23', /CurveP257/, /CurveP256/],
  ['http_server_config: {http2: true}', '1:29', /http2 cannot be "true"/, /HTTP\/1\.1/],
  ['http_server_config: {headers: {Server: x}}', '1:40', /Server is not a key/, /Strict-Transport/],
  ['http_server_config: {headers: {X-Frame-Options: allow}}', '1:49', /"allow"/, /deny/],
  ['basic_auth_users: {john: doe}', '1:26', /basic_auth_users\.john is not valid/, /bcrypt/],
  ['basic_auth_users: {john: ""}', '1:26', /basic_auth_users\.john is not valid/, /bcrypt/],
  [`basic_auth_users: {"a:b": ${HASH_OF_SECRET}}`, '1:19', /a user name has a colon/, /./],
  ['rate_limit: {interval: 5, burst: 1}', '1:24', /interval is not valid/, /50ms/],
  ['rate_limit: {interval: 1s}', '1:13', /has no burst/, /burst: 20/],
  ['rate_limit: {interval: 1s, burst: -1}', '1:35', /burst is not valid/, /whole number/],
] as const) {
  test(`${JSON.stringify(text)} is an error with place and fix`, () => {
    const parsed = parseWebFile(text, 'web.yml');
    assert.ok('problems' in parsed, 'it has no problem');
    const [problem] = parsed.problems;
    assert.equal(problem?.where, `web.yml:${where}`);
    assert.match(problem?.what ?? '', what);
    assert.match(problem?.remedy ?? '', remedy);
  });
}

test('no problem repeats a hash, a key or a line of the file', () => {
  for (const text of [
    'basic_auth_users: {john: top-secret}',
    'tls_server_config: {key: [top-secret]}',
    'basic_auth_users: {john: "top-secret}',
    'top-secret',
  ]) {
    const parsed = parseWebFile(text, 'web.yml');
    assert.ok('problems' in parsed);
    assert.doesNotMatch(JSON.stringify(parsed.problems), /top-secret/);
  }
});
