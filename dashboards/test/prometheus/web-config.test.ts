import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { ensurePackages } from '../../../lab/src/host-packages.ts';
import { parseWebFile } from '../../../server/src/config/web-file.ts';
import { Program } from '../../../server/test/e2e/program.ts';
import { HASH_OF_SECRET, WebConfigFolder } from '../../../server/test/fixtures/web-config.ts';
import { REPOSITORY } from '../catalogue.ts';
import { OwnServer, startPrometheus, until } from '../servers.ts';

const program = new Program();
before(async () => {
  await ensurePackages(['prometheus'], console.log);
  program.build();
});

const WEB_CONFIG = `tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
http_server_config:
  headers: { Strict-Transport-Security: max-age=31536000 }
basic_auth_users:
  prometheus: ${HASH_OF_SECRET}
`;

test('Prometheus scrapes a daemon with TLS, a client certificate and a password, and none of them can be left out', async (t) => {
  const { folder, path } = new WebConfigFolder(t, WEB_CONFIG);
  const prometheus = new OwnServer();
  t.after(() => prometheus.stop());
  t.after(() => program.remove());
  writeFileSync(join(folder, 'password'), 'secret\n');
  const recording = join(REPOSITORY, 'recordings/import-vgem.ndjson');
  const serving = await program.serve(t, ['replay', recording, `--web.config.file=${path}`]);
  const { host } = new URL(serving.url);
  const job = (name: string, { certificate = 'client', password = 'password', scheme = 'https' } = {}) => `
  - job_name: ${name}
    scheme: ${scheme}
    tls_config: { ca_file: ${folder}/ca.pem${certificate === '' ? '' : `, cert_file: ${folder}/${certificate}.pem, key_file: ${folder}/${certificate}.key`} }
    ${password === '' ? '' : `basic_auth: { username: prometheus, password_file: ${folder}/${password} }`}
    static_configs: [{ targets: ['${host}'] }]`;
  const jobs = [
    job('right'),
    job('no-certificate', { certificate: '' }),
    job('foreign-certificate', { certificate: 'foreign' }),
    job('no-password', { password: '' }),
    // The name of a file whose content is not the password.
    job('wrong-password', { password: 'web.yml' }),
    job('no-tls', { scheme: 'http' }),
  ];
  await startPrometheus(
    prometheus,
    `global: { scrape_interval: 1s, scrape_timeout: 1s }\nscrape_configs:${jobs.join('')}\n`,
  );
  let up: Record<string, string> = {};
  await until('each job to be scraped', async () => {
    const series = await prometheus.query('up and count_over_time(up[1m]) > 3');
    up = Object.fromEntries(series.map(({ metric, value }) => [metric.job ?? '', value[1]]));
    return Object.keys(up).length === jobs.length && up.right === '1';
  });
  assert.deepEqual(up, {
    right: '1',
    'no-certificate': '0',
    'foreign-certificate': '0',
    'no-password': '0',
    'wrong-password': '0',
    'no-tls': '0',
  });
  const [build] = await prometheus.query('vfio_dmabuf_build_info');
  assert.equal(build?.metric.job, 'right');
  const wrong = await prometheus.query(
    'vfio_dmabuf_http_requests_rejected_total{reason="wrong_credentials"}',
  );
  assert.ok(Number(wrong[0]?.value[1]) > 0);
});

/** What promtool and this program say about the same file. */
const FILES: readonly (readonly [what: string, text: string, isRight: boolean])[] = [
  ['an empty file', '', true],
  ['TLS, client certificates, headers and users', WEB_CONFIG, true],
  ['users without TLS', `basic_auth_users: { a: ${HASH_OF_SECRET} }`, true],
  [
    'versions, suites and curves',
    `tls_server_config: { cert_file: server.pem, key_file: server.key, min_version: TLS12, max_version: TLS13,
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256], prefer_server_cipher_suites: false,
  curve_preferences: [CurveP256, X25519] }`,
    true,
  ],
  ['a key that does not exist', 'tls_server_config: { cert_filename: server.pem }', false],
  ['a section that does not exist', 'tls: {}', false],
  ['a certificate without a key', 'tls_server_config: { cert_file: server.pem }', false],
  [
    'a version that does not exist',
    WEB_CONFIG.replace('  client_ca', '  min_version: TLS111\n  client_ca'),
    false,
  ],
  [
    'a suite that does not exist',
    WEB_CONFIG.replace('  client_ca', '  cipher_suites: [AES]\n  client_ca'),
    false,
  ],
  [
    'a curve that does not exist',
    WEB_CONFIG.replace('  client_ca', '  curve_preferences: [P]\n  client_ca'),
    false,
  ],
  ['a policy that does not exist', WEB_CONFIG.replace('RequireAndVerifyClientCert', 'Always'), false],
  ['a client CA without a policy', WEB_CONFIG.replace(/ {2}client_auth_type.*\n/, ''), false],
  ['a password that is not hashed', 'basic_auth_users: { a: secret }', false],
  ['a header that cannot be set', 'http_server_config: { headers: { Server: x } }', false],
  ['a value that a header cannot have', 'http_server_config: { headers: { X-Frame-Options: x } }', false],
];
for (const [what, text, isRight] of FILES) {
  test(`${what} is ${isRight ? 'right' : 'wrong'} for promtool check web-config and for this program`, (t) => {
    const { folder, path } = new WebConfigFolder(t, text);
    const promtool = spawnSync('promtool', ['check', 'web-config', path], { cwd: folder, encoding: 'utf8' });
    assert.equal(promtool.status === 0, isRight, promtool.stderr);
    assert.equal('settings' in parseWebFile(text, path), isRight);
  });
}
