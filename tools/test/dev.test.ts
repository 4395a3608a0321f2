import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../../server/test/fixtures/eventually.ts';
import { readDevArgs } from '../dev/args.ts';

const ROOT = join(import.meta.dirname, '../..');
const RECORDING = join(ROOT, 'recordings/import-vgem.ndjson');
const COPIED = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tools',
  'server/src',
  'server/web',
  'probes',
];
const PAGE_ROUTE = 'server/src/http/routes/page.ts';
const SENTENCE = 'Which VFIO device exports its memory as a dma-buf to whom';

/** A copy of the sources that a test may edit. */
class Sources {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'vfio-dmabuf-dev-')));

  constructor(t: TestContext) {
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
    for (const path of [...COPIED, 'docs']) {
      cpSync(join(ROOT, path), join(this.folder, path), { recursive: true });
    }
    // Links each package separately, so that emptying this folder does not delete the packages.
    const packages = join(this.folder, 'node_modules');
    mkdirSync(packages);
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (!name.startsWith('.')) symlinkSync(join(ROOT, 'node_modules', name), join(packages, name));
    }
    cpSync(join(ROOT, 'package-lock.json'), join(packages, '.installed-lock'));
  }

  /** Replaces the file atomically, as many editors do, so that no build reads half of it. */
  write(path: string, text: string): void {
    const half = join(this.folder, 'half-written');
    writeFileSync(half, text);
    renameSync(half, join(this.folder, path));
  }

  edit(path: string, ...replacements: [before: string, after: string][]): void {
    let text = readFileSync(join(this.folder, path), 'utf8');
    for (const [before, after] of replacements) {
      assert.ok(text.includes(before), `${path} has no ${before}`);
      text = text.replace(before, after);
    }
    this.write(path, text);
  }

  /** Pids of the processes whose working directory or command line is in the copy. */
  processes(): number[] {
    return readdirSync('/proc').flatMap((name) => {
      const pid = Number(name);
      if (!(pid > 0) || pid === process.pid) return [];
      try {
        const own = [readlinkSync(`/proc/${pid}/cwd`), readFileSync(`/proc/${pid}/cmdline`, 'utf8')];
        return own.some((text) => text.includes(this.folder)) ? [pid] : [];
      } catch {
        return [];
      }
    });
  }
}

/** `npm run dev` on a copy of the sources, without npm. */
class Dev {
  readonly child: ChildProcess;
  readonly ended: Promise<number | string | null>;
  output = '';

  constructor(t: TestContext, sources: Sources, ...args: string[]) {
    this.child = spawn(process.execPath, ['tools/dev.mjs', ...args], { cwd: sources.folder });
    t.after(() => this.child.kill('SIGKILL'));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk) => {
        this.output += chunk;
      });
    }
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve(signal ?? code));
    });
  }

  /** Runs the action, and waits until the output after its start matches. */
  async prints(pattern: RegExp, action: () => void = () => {}): Promise<void> {
    const from = this.output.length;
    action();
    await eventually(() => assert.match(this.output.slice(from), pattern));
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    const url = /dev: (http:\S+) serves/.exec(this.output)?.[1];
    assert.ok(url !== undefined, `no URL in: ${this.output}`);
    const answer = await fetch(new URL(path, url));
    return { status: answer.status, text: await answer.text() };
  }

  /** Waits until the rejection in the recording is served. A new program is served before it has read all lines. */
  async servesRecording(): Promise<void> {
    await eventually(async () =>
      assert.match((await this.get('/api/v1/rejections')).text, /no_peer_to_peer/),
    );
  }

  /** Collects the messages that an open page receives until the end of the test. */
  async follow(t: TestContext): Promise<{ received: string }> {
    const abort = new AbortController();
    t.after(() => abort.abort());
    const url = /dev: (http:\S+) serves/.exec(this.output)?.[1];
    const { body } = await fetch(new URL('dev/changes', url), { signal: abort.signal });
    const page = { received: '' };
    body
      ?.pipeThrough(new TextDecoderStream())
      .pipeTo(
        new WritableStream({
          write: (text) => {
            page.received += text;
          },
        }),
      )
      .catch(() => {});
    return page;
  }
}

function builds({ received }: { received: string }): number {
  return new Set(Array.from(received.matchAll(/event: build\ndata: (\d+)/g), ([, build]) => build)).size;
}

test('a saved change of the page, the program or a runbook is served, and an open page is notified', async (t) => {
  const sources = new Sources(t);
  const dev = new Dev(t, sources, RECORDING, '--port=0', '--log.level=warn');
  await dev.prints(/ready after/);
  assert.match((await dev.get('/')).text, /assets\/page\.css.*assets\/page\.js/s);
  assert.match((await dev.get('/assets/page.js')).text, /dev\/changes/);
  await dev.servesRecording();
  const page = await dev.follow(t);
  await eventually(() => assert.equal(builds(page), 1));

  await dev.prints(/changed: server\/web\/base\.css\ndev: the new page is served/, () =>
    sources.edit('server/web/base.css', ['--back: #f5f6f8;', '--back: #123456;']),
  );
  assert.match((await dev.get('/assets/page.css')).text, /--back: #123456/);
  await eventually(() => assert.equal(builds(page), 2));

  await dev.prints(/changed: server\/src\/http\/routes\/page\.ts\ndev: the new program is served/, () =>
    sources.edit(PAGE_ROUTE, [SENTENCE, 'A sentence of the test']),
  );
  assert.match((await dev.get('/')).text, /A sentence of the test/);
  await dev.servesRecording();
  await eventually(() => assert.equal(builds(page), 3));

  await dev.prints(/changed: docs\/runbooks\/Test\.md\ndev: the new program is served/, () =>
    sources.write('docs/runbooks/Test.md', '# A runbook of the test'),
  );
  assert.match((await dev.get('/runbooks/Test')).text, /A runbook of the test/);
  await eventually(() => assert.equal(builds(page), 4));
});

test('changes in a new folder are detected', async (t) => {
  const sources = new Sources(t);
  const dev = new Dev(t, sources, RECORDING, '--port=0', '--log.level=warn');
  await dev.prints(/ready after/);
  await dev.prints(/the new program is served/, () => {
    mkdirSync(join(sources.folder, 'server/src/added'));
    sources.write('server/src/added/sentence.ts', "export const SENTENCE = '<p>An added sentence';\n");
    sources.edit(
      PAGE_ROUTE,
      [`'<p>${SENTENCE}`, `SENTENCE, '${SENTENCE}`],
      ['import { Type }', "import { SENTENCE } from '../../added/sentence.ts';\nimport { Type }"],
    );
  });
  assert.match((await dev.get('/')).text, /An added sentence/);
  await dev.prints(/changed: server\/src\/added\/sentence\.ts\ndev: the new program is served/, () =>
    sources.edit('server/src/added/sentence.ts', ['An added', 'A changed']),
  );
  assert.match((await dev.get('/')).text, /A changed sentence/);
});

test('a failed build is reported with file and line, and the last good build is served until the fix', async (t) => {
  const sources = new Sources(t);
  const [good, broken] = ['const POLICY = [', 'const POLICY = = ['];
  sources.edit(PAGE_ROUTE, [good, broken]);
  const dev = new Dev(t, sources, RECORDING, '--port=0', '--log.level=warn');
  const lines = readFileSync(join(sources.folder, PAGE_ROUTE), 'utf8').split('\n');
  const place = `page\\.ts:${lines.indexOf(broken) + 1}:15`;
  await dev.prints(new RegExp(`the build failed; nothing is served.*server/src/http/routes/${place}`, 's'));
  const answer = await dev.get('/');
  assert.equal(answer.status, 503);
  assert.match(answer.text, new RegExp(place));
  await dev.prints(/ready after/, () => sources.edit(PAGE_ROUTE, [broken, good]));
  assert.equal((await dev.get('/')).status, 200);

  const page = await dev.follow(t);
  await dev.prints(
    /the build failed; the last good build is served.*server\/web\/layout\/page-layout\.tsx:1:7/s,
    () => sources.edit('server/web/layout/page-layout.tsx', ['import { Banners }', 'import = { Banners }']),
  );
  await eventually(() =>
    assert.match(page.received, /event: problem\ndata: ".*server\/web\/layout\/page-layout\.tsx:1:7/),
  );
  assert.equal((await dev.get('/')).status, 200);
  await dev.prints(/built; nothing that is served has changed/, () =>
    sources.edit('server/web/layout/page-layout.tsx', ['import = { Banners }', 'import { Banners }']),
  );
  await eventually(() => assert.match(page.received, /event: problem\ndata: ""\n\n$/));

  const start = "throw new Error('broken at its start');\n";
  await dev.prints(/the program ended with exit code 1; .*the last good build is served/, () =>
    sources.edit('server/src/http/server.ts', ['export class HttpServer', `${start}export class HttpServer`]),
  );
  assert.match(dev.output, /broken at its start.*server\/src\/http\/server\.ts:/s, 'source maps are used');
  await dev.servesRecording();
  await dev.prints(/the new program is served/, () => sources.edit('server/src/http/server.ts', [start, '']));
  await dev.servesRecording();
});

test('SIGINT ends it with exit code 0, also with an open page, and leaves no process and no file', async (t) => {
  const sources = new Sources(t);
  const dev = new Dev(t, sources, RECORDING, '--port=0');
  await dev.prints(/ready after/);
  await dev.follow(t);
  assert.ok(sources.processes().length >= 3, 'the tool, esbuild and the program must be running');
  dev.child.kill('SIGINT');
  assert.equal(await dev.ended, 0, dev.output);
  assert.deepEqual(sources.processes(), []);
  assert.deepEqual(builtFolders(sources), []);
});

test('SIGKILL leaves no process, and the next start removes the files', async (t) => {
  const sources = new Sources(t);
  const killed = new Dev(t, sources, RECORDING, '--port=0');
  await killed.prints(/ready after/);
  killed.child.kill('SIGKILL');
  await eventually(() => assert.deepEqual(sources.processes(), []));
  assert.equal(builtFolders(sources).length, 1);
  const dev = new Dev(t, sources, RECORDING, '--port=0');
  await dev.prints(/ready after/);
  assert.deepEqual(builtFolders(sources), [`.dist-dev-${dev.child.pid}`]);
  dev.child.kill('SIGTERM');
  assert.equal(await dev.ended, 0, dev.output);
});

test('a port in use ends it with exit code 2, the cause and a fix', async (t) => {
  const sources = new Sources(t);
  const other = createServer();
  t.after(() => other.close());
  await once(other.listen(0, '127.0.0.1'), 'listening');
  const { port } = other.address() as AddressInfo;
  const dev = new Dev(t, sources, RECORDING, '--port', `${port}`);
  assert.equal(await dev.ended, 2, dev.output);
  assert.match(dev.output, /another program listens there \(EADDRINUSE\)\nfix: .*--port 10043/);
});

test('readDevArgs reads the recording and --port, and passes other flags to the program', () => {
  const read = (...argv: string[]) => readDevArgs(argv, '/root', '/cwd');
  assert.deepEqual(read(), {
    help: false,
    recording: '/root/recordings/busy-hour.ndjson.gz',
    port: 10_043,
    flags: [],
  });
  assert.deepEqual(read('a.ndjson', '--port', '0', '--events.keep', '9', '--log.level=warn'), {
    help: false,
    recording: '/cwd/a.ndjson',
    port: 0,
    flags: ['--events.keep', '9', '--log.level=warn'],
  });
  assert.throws(() => read('--port', 'http'), /--port needs a number from 0 to 65535, not http/);
  assert.throws(() => read('--port'), /not nothing/);
  assert.throws(() => read('--web.listen-address=:80'), /does not accept .*:80\nfix: use --port/);
});

function builtFolders(sources: Sources): string[] {
  return readdirSync(sources.folder).filter((name) => name.startsWith('.dist-dev-'));
}
