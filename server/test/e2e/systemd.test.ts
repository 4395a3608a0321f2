import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { Program } from './program.ts';
import { underSystemd } from './service.ts';

const program = new Program();
const stream = join(program.folder, 'stream.sock');
const SERVE = ['serve', stream];
before(() => program.build());
after(() => program.remove());

/** A socket that listens. It has to be closed here after it was passed on, because this process would accept too. */
async function listening(where: { port: number; host: string } | { path: string }) {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(where, resolve));
  const { fd } = (server as Server & { _handle: { fd: number } })._handle;
  return { fd, address: server.address() as AddressInfo, close: () => void server.close() };
}

test('serves on the socket of systemd, and reports start, reload and stop', async (t) => {
  const { fd, address, close } = await listening({ port: 0, host: '127.0.0.1' });
  const service = underSystemd(t, [process.execPath, program.path, ...SERVE, '--web.systemd-socket'], [fd], {
    WATCHDOG_USEC: '800000',
  });
  close();
  await service.until(() => service.messages.includes('READY=1'), 'the service to be ready');
  assert.equal(service.url, `http://127.0.0.1:${address.port}`);
  assert.equal((await fetch(`${service.url}/-/healthy`)).status, 200);
  await service.until(() => /WATCHDOG=1.*WATCHDOG=1/s.test(service.messages), 'keep-alives');
  assert.match(service.messages, /STATUS=not ready: waiting for the collector/);
  assert.doesNotMatch(service.messages, /RELOADING|STOPPING/);

  service.child.kill('SIGHUP');
  await service.until(() => /RELOADING=1\nMONOTONIC_USEC=\d+.*READY=1/s.test(service.messages), 'the reload');
  service.child.kill('SIGTERM');
  assert.equal(await service.ended, 0);
  assert.match(service.messages, /STOPPING=1/);
});

for (const [what, pass, code, error] of [
  ['no socket', 'none', 2, /passed no socket.*socket unit/s],
  ['a socket that is not TCP', 'unix', 1, /not a TCP socket.*ListenStream/s],
  ['a file', 'file', 1, /cannot serve descriptor 3.*ListenStream/s],
] as const) {
  test(`${what} is an error that names the fix`, async (t) => {
    const other = pass === 'unix' ? await listening({ path: join(await temporaryFolder(t), 's') }) : null;
    const file = pass === 'file' ? openSync('/dev/null', 'r') : null;
    const fds = [other?.fd, file].filter((fd) => typeof fd === 'number');
    const service = underSystemd(t, [process.execPath, program.path, ...SERVE, '--web.systemd-socket'], fds);
    other?.close();
    if (file !== null) closeSync(file);
    assert.equal(await service.ended, code, service.log);
    assert.match(service.log, error);
  });
}

test('without the setting, a socket of systemd is not used', async (t) => {
  const { fd, address, close } = await listening({ port: 0, host: '127.0.0.1' });
  const service = underSystemd(
    t,
    [process.execPath, program.path, ...SERVE, '--web.listen-address=127.0.0.1:0'],
    [fd],
  );
  close();
  await service.listening();
  assert.notEqual(service.url, `http://127.0.0.1:${address.port}`);
});
