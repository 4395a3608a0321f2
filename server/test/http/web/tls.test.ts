import assert from 'node:assert/strict';
import { connect as connectTcp } from 'node:net';
import { test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { namesOf } from '../../../src/http/web/client-certificate.ts';
import { TracerError } from '../../../src/lib/errors.ts';
import { eventually } from '../../fixtures/eventually.ts';
import { pemOf } from '../../fixtures/web-config.ts';
import { RawClient } from '../raw-client.ts';
import { clientCertificate, SERVER, serveSecurely } from './secure-server.ts';

const KNOWN = clientCertificate('client');
const FOREIGN = clientCertificate('foreign');
const VERIFIED = `${SERVER}, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert`;

test('with a certificate the server answers over TLS 1.3 and 1.2, and has an https URL', async (t) => {
  const { ask, server } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  assert.match(server.urls[0] ?? '', /^https:\/\/127\.0\.0\.1:/);
  const answer = await ask('/-/healthy');
  assert.deepEqual([answer.status, answer.body, answer.server], [200, 'alive\n', 'server']);
  assert.equal(answer.protocol, 'TLSv1.3');
  assert.equal((await ask('/-/healthy', { maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2');
});

test('TLS 1.1 is rejected, and a version or suite that the file excludes too', async (t) => {
  const { ask, files, web } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  await assert.rejects(ask('/-/healthy', old));
  files.write(`tls_server_config: {${SERVER}, min_version: TLS13}`);
  await web.reload();
  await assert.rejects(ask('/-/healthy', { maxVersion: 'TLSv1.2' }));
  files.write(
    `tls_server_config: {${SERVER}, max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]}`,
  );
  await web.reload();
  assert.equal((await ask('/-/healthy')).protocol, 'TLSv1.2');
  await assert.rejects(ask('/-/healthy', { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }));
});

for (const [rules, accepted] of [
  ['client_auth_type: NoClientCert', { none: true, known: true, foreign: true }],
  ['client_auth_type: RequestClientCert', { none: true, known: true, foreign: true }],
  ['client_auth_type: RequireAnyClientCert', { none: false, known: true, foreign: true }],
  ['client_auth_type: RequireClientCert', { none: false, known: true, foreign: true }],
  [
    'client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven',
    { none: true, known: true, foreign: false },
  ],
  [
    'client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert',
    { none: false, known: true, foreign: false },
  ],
] as const) {
  test(`${rules}: which clients are accepted`, async (t) => {
    const { ask, server, log } = await serveSecurely(t, `tls_server_config: {${SERVER}, ${rules}}`);
    const clients = { none: {}, known: KNOWN, foreign: FOREIGN };
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      for (const [name, certificate] of Object.entries(clients)) {
        const isAccepted = await ask('/metrics', { ...certificate, maxVersion }).then(
          ({ status }) => status === 200,
          () => false,
        );
        assert.equal(isAccepted, accepted[name as keyof typeof clients], `${name}, ${maxVersion}`);
      }
    }
    const rejected = Object.values(accepted).filter((one) => !one).length * 2;
    assert.equal(server.connections.dropped.tls, rejected);
    assert.equal(log.filter(({ why }) => why !== undefined).length, rejected === 0 ? 0 : 1);
  });
}

for (const [name, isAccepted] of [
  ['prometheus.example', true],
  ['10.0.0.7', true],
  ['"fd00::7"', true],
  ['"fd00:0:0::7"', true],
  ['scraper@example.com', true],
  ['spiffe://example.com/scraper', true],
  ['prometheus', false],
  ['example', false],
  ['"*.example"', false],
  ['client', false],
  ['10.0.0.8', false],
  ['spiffe://example.com', false],
] as const) {
  test(`client_allowed_sans: ${name} ${isAccepted ? 'accepts' : 'rejects'} the client`, async (t) => {
    const { ask } = await serveSecurely(
      t,
      `tls_server_config: {${VERIFIED}, client_allowed_sans: [x, ${name}]}`,
    );
    const answer = ask('/-/healthy', KNOWN);
    if (isAccepted) assert.equal((await answer).status, 200);
    else await assert.rejects(answer);
  });
}

test('a quoted name in the text of Node cannot pretend to be another name', () => {
  assert.deepEqual(namesOf('DNS:a.example, IP Address:10.0.0.1, email:a@b.example, URI:x://y'), [
    'a.example',
    'a@b.example',
    'x://y',
  ]);
  assert.deepEqual(namesOf('URI:"x://y, DNS:good.example"'), ['x://y, DNS:good.example']);
  assert.deepEqual(namesOf('DNS:"a\\"", DNS:b'), ['a"', 'b']);
  assert.deepEqual(namesOf('DNS:good.example, what is this'), []);
  assert.deepEqual(namesOf(''), []);
});

test('a renewed certificate is used for new connections, without a reload', async (t) => {
  const { ask, files } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  assert.equal((await ask('/-/healthy')).server, 'server');
  files.replace('server.pem', 'renewed.pem');
  files.replace('server.key', 'renewed.key');
  await eventually(async () => assert.equal((await ask('/-/healthy')).server, 'renewed'));
});

test('a certificate without its key changes nothing, and is used when the key follows', async (t) => {
  const { ask, files, web, log } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  files.replace('server.pem', 'renewed.pem');
  await eventually(() => assert.equal(web.lastReload?.successful, false));
  assert.equal((await ask('/-/healthy')).server, 'server');
  const problem = log.find(({ msg }) => msg.includes('the old web configuration stays in use'));
  assert.match(problem?.msg ?? '', /cert_file and key_file cannot be used: .*mismatch/);
  files.replace('server.key', 'renewed.key');
  await eventually(() => assert.equal(web.lastReload?.successful, true));
  assert.equal((await ask('/-/healthy')).server, 'renewed');
});

test('new rules for clients are used for new connections, also for a resumed session', async (t) => {
  const { ask, files, web, port } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  const handshake = (session?: Buffer): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port, ca: pemOf('ca.pem'), maxVersion: 'TLSv1.2' as const };
      const socket = connect({ ...options, ...(session === undefined ? {} : { session }) });
      socket.on('secureConnect', () => resolve(socket));
      socket.on('error', reject);
    });
  const first = await handshake();
  const session = first.getSession() ?? assert.fail('no session');
  first.destroy();
  const second = await handshake(session);
  assert.ok(second.isSessionReused());
  second.destroy();
  files.write(`tls_server_config: {${VERIFIED}}`);
  await web.reload();
  await assert.rejects(ask('/-/healthy'));
  assert.equal((await ask('/-/healthy', KNOWN)).status, 200);
  await assert.rejects(handshake(session));
});

test('TLS cannot be turned off or on without a restart', async (t) => {
  const { ask, files, web } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  files.write('basic_auth_users: {}');
  await assert.rejects(web.reload(), /needs a restart/);
  assert.equal((await ask('/-/healthy')).status, 200);
});

for (const [text, what] of [
  [
    `tls_server_config: {cert_file: server.pem, key_file: none.key}`,
    /^user \d+ cannot read key_file \(ENOENT\)/,
  ],
  [`tls_server_config: {cert_file: server.pem, key_file: client.key}`, /mismatch/],
  [`tls_server_config: {cert_file: server.key, key_file: server.key}`, /cannot be used/],
  [`tls_server_config: {${VERIFIED.replace('ca.pem', 'server.key')}}`, /client_ca_file has no certificate/],
] as const) {
  test(`the server does not start with ${text}`, async (t) => {
    await assert.rejects(serveSecurely(t, text), (error) => {
      assert.ok(error instanceof TracerError && error.isUserError);
      assert.match(error.message, what);
      return true;
    });
  });
}

test('a client that speaks HTTP to the port of TLS is counted, with a hint in the log', async (t) => {
  const { port, server, log } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  const client = new RawClient(port).get('/metrics');
  await eventually(() => assert.ok(client.closed));
  assert.equal(server.connections.dropped.tls, 1);
  assert.match(client.text, /^HTTP\/1\.1 400 .*write https:\/\/ in the URL/s);
  assert.ok(log.some(({ why }) => why?.includes('https://')));
});

test('clients that open connections and never complete the handshake cannot lock others out', async (t) => {
  const { ask, port, server } = await serveSecurely(t, `tls_server_config: {${SERVER}}`, {
    limits: { connections: 10, sweepMs: 20 },
  });
  const silent = Array.from({ length: 30 }, () => connectTcp(port, '127.0.0.1').on('error', () => {}));
  t.after(() => {
    for (const socket of silent) socket.destroy();
  });
  await eventually(() => assert.ok(server.connections.dropped.limit >= 20));
  assert.equal((await ask('/metrics')).status, 200);
  assert.ok(server.connections.size <= 10);
});

test('a TLS client that does not read its answer is dropped', async (t) => {
  const { port, server } = await serveSecurely(t, `tls_server_config: {${SERVER}}`, {
    limits: { answerSweeps: 3, sweepMs: 20 },
  });
  const socket = connect({ host: '127.0.0.1', port, ca: pemOf('ca.pem') });
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await new Promise<void>((resolve) => socket.once('secureConnect', resolve));
  socket.pause();
  const request = 'GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n';
  // Each answer is some 100 KB, so the buffers of the sockets fill.
  const timer = setInterval(() => socket.write(request), 5);
  t.after(() => clearInterval(timer));
  await eventually(() =>
    assert.ok(server.connections.dropped.slow + server.connections.dropped.pipelining > 0),
  );
  clearInterval(timer);
  await eventually(() => assert.equal(server.connections.size, 0));
});

test('headers of the file are part of every answer, also of errors', async (t) => {
  const { ask, files, web } = await serveSecurely(
    t,
    `tls_server_config: {${SERVER}}\nhttp_server_config: {headers: {Strict-Transport-Security: max-age=60}}`,
  );
  for (const path of ['/-/healthy', '/', '/nowhere', '/%zz']) {
    assert.equal((await ask(path)).headers['strict-transport-security'], 'max-age=60', path);
  }
  files.write(`tls_server_config: {${SERVER}}`);
  await web.reload();
  assert.equal((await ask('/-/healthy')).headers['strict-transport-security'], undefined);
});

test('a connection to the port of TLS must also name this server', async (t) => {
  const { ask } = await serveSecurely(t, `tls_server_config: {${SERVER}}`);
  assert.equal(
    (await ask('/metrics', { servername: 'localhost', headers: { host: 'evil.example' } })).status,
    421,
  );
  assert.equal(
    (await ask('/metrics', { servername: 'localhost', headers: { host: 'tracer.localhost' } })).status,
    200,
  );
});
