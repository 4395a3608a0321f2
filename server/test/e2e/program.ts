import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../fixtures/eventually.ts';

const BUILD = fileURLToPath(new URL('../../../tools/build.mjs', import.meta.url));
const SHARED = process.env.TRACER_TEST_DIST;

/** The built program, outside of any node_modules, and a temporary folder for the files of the tests. */
export class Program {
  readonly folder: string;
  /** The folder of the build: shared by all test files if tools/run-tests.mjs made it, else in `folder`. */
  readonly dist: string;
  readonly path: string;

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'built-'));
    // The server of `run` is another user if the tests run as root.
    chmodSync(this.folder, 0o755);
    this.dist = SHARED ?? join(this.folder, 'dist');
    this.path = join(this.dist, 'vfio-dmabuf-tracer.mjs');
  }

  build(): void {
    if (SHARED !== undefined) return;
    const run = spawnSync(process.execPath, [BUILD, this.dist], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Runs it to its end; the environment has only the given variables. */
  run(
    args: readonly string[],
    options: { input?: string | Buffer; env?: Record<string, string>; cwd?: string } = {},
  ) {
    const { input = '', env = {}, cwd } = options;
    const run = spawnSync(process.execPath, [this.path, ...args], {
      input,
      env,
      cwd,
      timeout: 120_000,
      maxBuffer: 64 << 20,
    });
    return { code: run.status, stdout: run.stdout.toString(), stderr: run.stderr.toString() };
  }

  /** Starts it; the caller has to end it. */
  spawn(args: readonly string[]): Serving {
    return new Serving(spawn(process.execPath, [this.path, ...args], { env: {} }));
  }

  /** Starts it; it is killed when the test ends. */
  start(t: TestContext, args: readonly string[]): Serving {
    const serving = this.spawn(args);
    t.after(() => serving.child.kill('SIGKILL'));
    return serving;
  }

  /** Starts it as a daemon on a free port. */
  async serve(t: TestContext, args: readonly string[]): Promise<Serving> {
    const serving = this.start(t, [...args, '--web.listen-address=127.0.0.1:0']);
    await serving.listening();
    return serving;
  }
}

export class Serving {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  log = '';

  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        this.log += chunk;
      });
    }
    this.ended = new Promise((resolve) => child.once('close', resolve));
  }

  get url(): string {
    return /"url":"(https?:[^"]+)"/.exec(this.log)?.[1] ?? '';
  }

  async listening(): Promise<void> {
    await this.until(() => this.url !== '', 'the program to listen');
  }

  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    await eventually(async () =>
      assert.ok(await condition(), `timed out while waiting for ${what}; its log:\n${this.log}`),
    );
  }
}
