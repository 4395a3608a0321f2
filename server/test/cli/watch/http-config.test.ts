import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DaemonClient, daemonUrl } from '../../../src/cli/watch/daemon-client.ts';
import { Viewer } from '../../../src/cli/watch/daemon-state.ts';
import { readHttpConfig } from '../../../src/cli/watch/http-config.ts';
import { TracerError } from '../../../src/lib/errors.ts';
import { HASH_OF_SECRET, pemOf, WebConfigFolder } from '../../fixtures/web-config.ts';
import { SERVER, serveSecurely } from '../../http/web/secure-server.ts';

const CLIENT = 'tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}';
const ALICE = 'basic_auth: {username: alice, password_file: password}';

/** The path of a file for --http.config.file, next to the certificates and a file `password`. */
function fileOf(t: TestContext, text: string): string {
  const { folder, path } = new WebConfigFolder(t, text);
  writeFileSync(join(folder, 'password'), 'secret\n');
  return path;
}

async function protectedServer(t: TestContext) {
  const { server } = await serveSecurely(
    t,
    `tls_server_config: {${SERVER}, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert}\n` +
      `basic_auth_users: {alice: ${HASH_OF_SECRET}}`,
  );
  return daemonUrl(server.urls[0] ?? '');
}

const signal = new AbortController().signal;

test('watch reads state and events of a daemon with TLS, client certificates and users', async (t) => {
  const url = await protectedServer(t);
  const client = new DaemonClient(url, { http: readHttpConfig(fileOf(t, `${CLIENT}\n${ALICE}`)) });
  const { status } = await new Viewer(client, { device: undefined, state: undefined }).read(signal);
  assert.equal(status.version, '1.2.3');
  const ended = new AbortController();
  for await (const chunk of client.stream('/api/v1/stream', undefined, ended.signal)) {
    assert.match(chunk, /^retry: /);
    break;
  }
  ended.abort();
});

for (const [text, message, remedy] of [
  ['{}', /not from a known CA/, /tls_config\.ca_file/],
  ['tls_config: {ca_file: other-ca.pem}', /not from a known CA/, /tls_config\.ca_file/],
  ['tls_config: {ca_file: ca.pem, server_name: other.example}', /for another name/, /server_name/],
  ['tls_config: {ca_file: ca.pem}', /connection was closed/, /certificate and key/],
  [CLIENT, /needs a user and a password/, /basic_auth/],
  [`${CLIENT}\nbasic_auth: {username: alice, password: wrong}`, /does not accept this user/, /basic_auth/],
] as const) {
  test(`${JSON.stringify(text)} does not reach a protected daemon, and the error has the fix`, async (t) => {
    const client = new DaemonClient(await protectedServer(t), { http: readHttpConfig(fileOf(t, text)) });
    await assert.rejects(
      new Viewer(client, { device: undefined, state: undefined }).read(signal),
      (error) => {
        assert.ok(error instanceof TracerError && error.isUserError);
        assert.match(error.message, message);
        assert.match(error.remedy ?? '', remedy);
        assert.doesNotMatch(error.describe(), /wrong|secret/);
        return true;
      },
    );
  });
}

test('keys and password can be in the file itself, and a password keeps its inner spaces', (t) => {
  const quoted = JSON.stringify(pemOf('client.key'));
  const cert = JSON.stringify(pemOf('client.pem'));
  const text = `basic_auth: {username: alice, password: "a b"}\ntls_config: {cert: ${cert}, key: ${quoted}}`;
  const { authorization, tls } = readHttpConfig(fileOf(t, text));
  assert.equal(authorization, `Basic ${Buffer.from('alice:a b').toString('base64')}`);
  assert.deepEqual(
    [tls.cert, tls.key, tls.rejectUnauthorized],
    [pemOf('client.pem'), pemOf('client.key'), true],
  );
  const insecure = readHttpConfig(fileOf(t, 'tls_config: {insecure_skip_verify: true}'));
  assert.equal(insecure.tls.rejectUnauthorized, false);
});

for (const [text, what] of [
  ['oauth2: {}', /oauth2 is not a key/],
  ['basic_auth: {password: top-secret}', /basic_auth has no username/],
  ['basic_auth: {username: a, password: top-secret, password_file: password}', /both given/],
  ['basic_auth: {username: a, password_file: none}', /password_file cannot be read \(ENOENT\)/],
  ['tls_config: {cert_file: client.pem, key_file: server.key}', /certificates cannot be used/],
  ['tls_config: {insecure_skip_verify: perhaps}', /insecure_skip_verify cannot be "perhaps"/],
] as const) {
  test(`${JSON.stringify(text)} is an error`, (t) => {
    assert.throws(
      () => readHttpConfig(fileOf(t, text)),
      (error) => {
        assert.ok(error instanceof TracerError && error.isUserError);
        assert.match(error.message, what);
        assert.doesNotMatch(error.describe(), /top-secret/);
        return true;
      },
    );
  });
}
