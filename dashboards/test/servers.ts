import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../lab/src/free-port.ts';

/** A server of Debian with a separate configuration and folder, on a free port of the loopback address. */
export class OwnServer {
  readonly folder = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-dashboards-'));
  url = '';
  log = '';
  #child: ChildProcess | undefined;

  async start(
    command: string,
    config: string,
    args: (folder: string, address: string) => string[],
  ): Promise<void> {
    writeFileSync(join(this.folder, 'config.yml'), config);
    const address = `127.0.0.1:${await freePort()}`;
    this.url = `http://${address}`;
    const child = spawn(command, args(this.folder, address), { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    child.stderr.on('data', (chunk: Buffer) => {
      this.log += chunk;
    });
    child.on('error', (error) => {
      this.log += error.message;
    });
    await until(`${command} to be ready`, async () => {
      if (child.exitCode !== null) throw new Error(`${command} has ended:\n${this.log}`);
      return (await fetch(`${this.url}/-/ready`).catch(() => undefined))?.ok === true;
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode === null) {
      const closed = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await closed;
      clearTimeout(late);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  async api<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
    const response = await fetch(`${this.url}${path}?${new URLSearchParams(parameters)}`);
    const answer = (await response.json()) as { status: string; error?: string; data: T };
    if (answer.status !== 'success') throw new Error(`${answer.error}: ${JSON.stringify(parameters)}`);
    return answer.data;
  }

  /** The series of an instant query, now. */
  async query(query: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
    type Answer = {
      resultType: string;
      result: { metric: Record<string, string>; value: [number, string] }[];
    };
    return (await this.api<Answer>('/api/v1/query', { query })).result;
  }
}

export function startPrometheus(server: OwnServer, config: string): Promise<void> {
  return server.start('prometheus', config, (folder, address) => [
    `--config.file=${folder}/config.yml`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=${address}`,
  ]);
}

export function startAlertmanager(server: OwnServer, config: string): Promise<void> {
  return server.start('prometheus-alertmanager', config, (folder, address) => [
    `--config.file=${folder}/config.yml`,
    `--storage.path=${folder}/data`,
    `--web.listen-address=${address}`,
    '--cluster.listen-address=',
  ]);
}

/** Waits for a condition for up to 90 s, because the test machines are slow and shared. */
export async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 90_000; !(await condition()); ) {
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
