import assert from 'node:assert/strict';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { loadConfig } from '../../src/config/load.ts';
import { Daemon } from '../../src/daemon.ts';
import { loadWebFiles } from '../../src/http/web-files.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Program } from '../e2e/program.ts';
import { eventually } from '../fixtures/eventually.ts';
import { FakeSource } from '../fixtures/fake-source.ts';
import {
  collectorLine,
  counterRead,
  exited,
  exported,
  heartbeat,
  imported,
  ready,
  released,
  snapshot,
  starting,
} from '../fixtures/stream-lines.ts';
import { HASH_OF_SECRET, WebConfigFolder } from '../fixtures/web-config.ts';
import { assertClean, openBrowser, openPage } from './browser.ts';

const program = new Program();
before(() => program.build());
after(() => program.remove());

/** Microseconds since the boot of this host, so that the counters are recent for the daemon. */
function now(): number {
  return systemClock.bootUs();
}
function header(): string {
  return collectorLine('header', {
    format: 1,
    tracer: '0.1.0',
    kernel: '7.3.4',
    boot_epoch_us: Math.round(systemClock.wallMs() * 1000 - now()),
    t: now(),
  });
}

interface Host {
  daemon: Daemon;
  source: FakeSource;
  /** Emits a heartbeat and a counter read, as a child does each second. */
  beat: () => void;
}

/** @param events how many the daemon keeps  @param webConfig path of its web configuration file */
async function daemonOn(t: TestContext, port: number, events?: number, webConfig?: string): Promise<Host> {
  const web = loadWebFiles(join(program.dist, 'web'));
  assert.ok(web !== undefined);
  const flags = [
    { key: 'web.listen-address' as const, raw: [`127.0.0.1:${port}`], where: 'test' },
    ...(webConfig === undefined ? [] : [{ key: 'web.config.file' as const, raw: webConfig, where: 'test' }]),
    ...(events === undefined ? [] : [{ key: 'events.keep' as const, raw: String(events), where: 'test' }]),
  ];
  const source = new FakeSource();
  const daemon = new Daemon({
    config: loadConfig({ environment: {}, flags, file: undefined }),
    source,
    clock: systemClock,
    logger: pino({ level: 'silent' }),
    version: '1.2.3',
    web,
  });
  t.after(() => daemon.stop());
  await daemon.start();
  const beat = (): void => {
    for (const line of [heartbeat(now(), 0), ...counterRead(now(), {})]) source.emit(line);
  };
  for (const line of [header(), starting(now(), 1), ready(now())]) source.emit(line);
  source.emit(snapshot(now(), []));
  beat();
  const beats = setInterval(beat, 1000);
  t.after(() => clearInterval(beats));
  return { daemon, source, beat };
}

/** A TCP proxy between browser and daemon whose connections the test can cut. */
class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #to: number;
  cut = false;

  constructor(to: number) {
    this.#to = to;
    this.#server = createServer((near) => {
      if (this.cut) return near.destroy();
      const far = connect(this.#to, '127.0.0.1');
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
      return undefined;
    });
  }

  async start(t: TestContext): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      this.pull();
      this.#server.close();
    });
    const address = this.#server.address();
    assert.ok(address !== null && typeof address === 'object');
    return `http://127.0.0.1:${address.port}`;
  }

  pull(): void {
    this.cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }
}

function portOf(daemon: Daemon): number {
  return Number(new URL(daemon.server.urls[0] ?? '').port);
}

test('the page shows events live, reports a lost connection, and shows each event once after it reconnects', async (t) => {
  const { daemon, source } = await daemonOn(t, 0);
  const proxy = new TcpProxy(portOf(daemon));
  const url = await proxy.start(t);
  const { page } = await openPage(await openBrowser(t), url, '#feed=all');
  await page.getByRole('heading', { level: 1, name: 'Safe' }).waitFor();
  const events = page.locator('#rejections [role=listitem]');
  assert.equal(await events.count(), 0);

  source.emit(exported({ t: now(), inode: 7, pid: process.pid }));
  await events.getByText('Exported 4 KiB of BAR 2').waitFor();
  await page.locator('#buffers').getByRole('button', { name: '#7' }).waitFor();
  await page.locator('#topology .node.buffer').waitFor();

  proxy.pull();
  await page.getByText(/^Connection lost since \d\d:\d\d:\d\d$/).waitFor();
  source.emit(
    imported({ t: now(), inode: 7, stage: 'attach', importer: 'vgem', errno: 95, reason: 'no_peer_to_peer' }),
  );
  source.emit(imported({ t: now(), inode: 7, stage: 'attach', importer: 'mlx5_core' }));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal(await events.count(), 1, 'no event can arrive without a connection');
  proxy.cut = false;
  await page.getByText('Connected again').waitFor();
  await events.getByText('vgem was rejected').waitFor();
  source.emit(released(now(), 7));
  await events.getByText('Released').waitFor();
  const titles = (await events.locator('.e-title').allInnerTexts()).map((text) => text.replace(/ .*/s, ''));
  assert.deepEqual(titles, ['Released', 'mlx5_core', 'vgem', 'Exported'], 'each event once, newest first');
  await page.getByText('No device exports its memory now.').first().waitFor();
});

test('after a restart of the server the page drops all data of the old one', async (t) => {
  const first = await daemonOn(t, 0);
  const port = portOf(first.daemon);
  const { page } = await openPage(await openBrowser(t), `http://127.0.0.1:${port}`, '#feed=all');
  first.source.emit(exported({ t: now(), inode: 7, pid: process.pid }));
  const events = page.locator('#rejections [role=listitem]');
  await events.getByText('Exported').waitFor();
  await first.daemon.stop();
  await page.getByText(/^Connection lost since/).waitFor();
  const second = await daemonOn(t, port);
  second.source.emit(exported({ t: now(), inode: 8, pid: process.pid }));
  await page.getByText('Connected again').waitFor();
  await page.locator('#buffers').getByRole('button', { name: '#8' }).waitFor();
  await eventually(async () => assert.equal(await events.count(), 1));
  assert.equal(await page.locator('#buffers').getByRole('button', { name: '#7' }).count(), 0);
});

test('the page shows how many events the server evicted before the page reconnected', async (t) => {
  const { daemon, source } = await daemonOn(t, 0, 10);
  const proxy = new TcpProxy(portOf(daemon));
  const { page } = await openPage(await openBrowser(t), await proxy.start(t), '#feed=all');
  source.emit(exported({ t: now(), inode: 1, pid: process.pid }));
  await page.locator('#rejections [role=listitem]').getByText('Exported').waitFor();
  proxy.pull();
  await page.getByText(/^Connection lost since/).waitFor();
  for (let inode = 2; inode <= 31; inode += 1) source.emit(exported({ t: now(), inode, pid: process.pid }));
  proxy.cut = false;
  await page.getByText('20 events are missing in this page').waitFor();
  await page.locator('#rejections').getByText('11 events here').waitFor();
});

test('the page shows Blind after the child exits, and leaves that state when the next child traces', async (t) => {
  const { daemon, source, beat } = await daemonOn(t, 0);
  const { page } = await openPage(await openBrowser(t), daemon.server.urls[0] ?? '');
  source.emit(exited(now(), 1));
  await page.getByRole('heading', { level: 1, name: 'Blind' }).waitFor();
  source.emit(starting(now(), 2));
  source.emit(ready(now()));
  beat();
  await page.getByRole('heading', { level: 1, name: /Safe|Attention/ }).waitFor();
  await page.getByText('Not all of the time was traced').waitFor();
});

test('with TLS and a password the page shows events live, and without the password nothing', async (t) => {
  const { path } = new WebConfigFolder(
    t,
    `tls_server_config: {cert_file: server.pem, key_file: server.key}\nbasic_auth_users: {alice: ${HASH_OF_SECRET}}`,
  );
  const { daemon, source } = await daemonOn(t, 0, undefined, path);
  const url = daemon.server.urls[0] ?? '';
  const anyone = await (await openBrowser(t, { ignoreHTTPSErrors: true })).newPage();
  assert.equal((await anyone.goto(url).catch(() => undefined))?.ok() ?? false, false);
  const httpCredentials = { username: 'alice', password: 'secret' };
  const opened = await openPage(
    await openBrowser(t, { ignoreHTTPSErrors: true, httpCredentials }),
    url,
    '#feed=all',
  );
  const { page } = opened;
  await page.getByRole('heading', { level: 1, name: 'Safe' }).waitFor();
  source.emit(exported({ t: now(), inode: 7, pid: process.pid }));
  await page.locator('#rejections [role=listitem]').getByText('Exported 4 KiB of BAR 2').waitFor();
  assertClean(opened);
});
