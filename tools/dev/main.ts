import { accessSync, constants, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from '../build-options.mjs';
import { DEFAULT_PORT, type DevArgs, readDevArgs, USAGE, UsageError } from './args.ts';
import { DevServer } from './dev-server.ts';
import { Front } from './front.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs `npm run dev` until SIGINT, SIGTERM or SIGHUP, stops its children, and resolves with the exit code. */
export async function main(argv: readonly string[], host: NodeJS.Process): Promise<number> {
  const print = (line: string): void => void host.stdout.write(`dev: ${line}\n`);
  // Ctrl-C arrives twice, from the terminal and from npm, so a second signal must not do anything.
  const stopped = new Promise<void>((resolve) => {
    for (const signal of SIGNALS) host.on(signal, () => resolve());
  });
  try {
    const args = readDevArgs(
      argv,
      root,
      host.env.npm_lifecycle_event === 'dev' ? (host.env.INIT_CWD ?? root) : host.cwd(),
    );
    if (args.help) {
      host.stdout.write(USAGE);
      return 0;
    }
    await serve(args, stopped, print);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    host.stderr.write(`dev: ${error.message}\n`);
    return 2;
  }
}

async function serve(args: DevArgs, stopped: Promise<void>, print: (line: string) => void): Promise<void> {
  const { recording, port, flags } = args;
  mustBeReadable(recording);
  const front = new Front();
  const url = await front.start(port).catch((error: NodeJS.ErrnoException) => {
    throw listenError(error, port);
  });
  const directory = ownFolder();
  const server = new DevServer({ front, url, directory, recording, flags, print });
  try {
    print(`${url} serves ${relative(process.cwd(), recording)} from the sources; Ctrl-C stops`);
    await server.start();
    await stopped;
  } finally {
    await server.stop();
    await front.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Creates the folder of this process. Also removes the folders of processes that were killed. */
function ownFolder(): string {
  for (const name of readdirSync(root)) {
    const pid = Number(/^\.dist-dev-(\d+)$/.exec(name)?.[1]);
    if (pid > 0 && !isAlive(pid)) rmSync(join(root, name), { recursive: true, force: true });
  }
  const directory = join(root, `.dist-dev-${process.pid}`);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  return directory;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function mustBeReadable(recording: string): void {
  try {
    accessSync(recording, constants.R_OK);
  } catch (error) {
    const cause =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'the file does not exist' : String(error);
    throw new UsageError(`cannot read ${recording}: ${cause}\nfix: name a file of recordings/`);
  }
}

function listenError(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') return error;
  const cause =
    error.code === 'EADDRINUSE' ? 'another program listens there' : 'this user may not use the port';
  const other = port === DEFAULT_PORT ? DEFAULT_PORT + 1 : DEFAULT_PORT;
  return new UsageError(
    `cannot listen on 127.0.0.1:${port}: ${cause} (${error.code})\nfix: choose another port: npm run dev -- --port ${other}`,
  );
}
