import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HASH_OF_SECRET, WebConfigFolder } from '../fixtures/web-config.ts';
import { STREAM } from '../http/build.ts';
import { SERVER } from '../http/web/secure-server.ts';
import { Program } from './program.ts';

const program = new Program();
before(() => program.build());
after(() => program.remove());

test('the built program serves with TLS and users, and its watch shows it', async (t) => {
  const users = `basic_auth_users: {alice: ${HASH_OF_SECRET}}`;
  const { folder, path } = new WebConfigFolder(t, `tls_server_config: {${SERVER}}\n${users}`);
  const recording = join(folder, 'stream.jsonl');
  writeFileSync(recording, `${STREAM.join('\n')}\n`);
  const serving = await program.serve(t, ['replay', recording, `--web.config.file=${path}`]);
  assert.match(serving.url, /^https:/);
  const http = join(folder, 'http.yml');
  writeFileSync(http, 'tls_config: {ca_file: ca.pem}\nbasic_auth: {username: alice, password: secret}');
  const shown = program.run(['watch', serving.url, '--once', `--http.config.file=${http}`]);
  assert.deepEqual([shown.code, shown.stderr], [0, '']);
  assert.match(shown.stdout, /0000:41:00\.0/);
  const rejected = program.run(['watch', serving.url, '--once']);
  assert.equal(rejected.code, 1);
  assert.match(rejected.stderr, /not from a known CA\n {2}fix: set tls_config\.ca_file/);
});
