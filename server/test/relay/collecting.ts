import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { type StreamLine, streamLine } from '../../src/protocol/stream-line.ts';
import { SocketSource } from '../../src/relay/client.ts';
import { Relay } from '../../src/relay/relay.ts';
import { RelaySocket, type RelaySocketOptions } from '../../src/relay/socket.ts';
import { eventually } from '../fixtures/eventually.ts';
import { temporaryFolder } from '../fixtures/fake-bpftrace/fake-bpftrace.ts';
import { feed } from '../fixtures/feed.ts';
import { HEADER, ready, starting } from '../fixtures/stream-lines.ts';

export const SECOND = 1_000_000;
export const TRACING = [HEADER, starting(SECOND, 1), ready(SECOND)];

export interface Collecting {
  relay: Relay;
  socket: RelaySocket;
  warnings: string[];
  write: (...lines: string[]) => void;
}

/** A collector that listens at this path. */
export async function collecting(
  t: TestContext,
  path: string,
  options: Partial<RelaySocketOptions> & { keptBytes?: number } = {},
): Promise<Collecting> {
  const { keptBytes = 1 << 20, ...rest } = options;
  const relay = new Relay({ bootUs: () => 60 * SECOND, onResync: () => {}, keptBytes });
  const warnings: string[] = [];
  const socket = new RelaySocket({
    relay,
    path,
    gid: null,
    logger: { info: () => {}, warn: (_fields: unknown, text = '') => void warnings.push(text) },
    ...rest,
  });
  await socket.start();
  t.after(async () => {
    await socket.stop();
    await relay.stop(100);
  });
  const write = (...lines: string[]): void => {
    for (const line of lines) relay.write(streamLine(line));
  };
  return { relay, socket, warnings, write };
}

/** A reader with its model; `stop` ends it. */
export function reading(t: TestContext, path: string) {
  const lines: StreamLine[] = [];
  const logged: string[] = [];
  const { model, more } = feed([]);
  const controller = new AbortController();
  const log = (_fields: unknown, text = ''): void => void logged.push(text);
  const source = new SocketSource({
    path,
    clock: systemClock,
    logger: { info: log, warn: log },
    retry: { initialMs: 5, maxMs: 20 },
  });
  const running = source.run((line) => {
    lines.push(line);
    more(line.raw);
  }, controller.signal);
  running.catch(() => {});
  const stop = async (): Promise<void> => {
    controller.abort();
    await running;
  };
  t.after(() => controller.abort());
  const raws = (): string[] =>
    lines.map(({ raw }) => raw).filter((raw) => !raw.startsWith('{"type":"joined"'));
  return { raws, lines, model, logged, running, stop };
}

export async function path(t: TestContext): Promise<string> {
  return join(await temporaryFolder(t), 'stream.sock');
}

/** Waits until one reader has joined: it gets every line from the start. */
export async function joinedBy({ relay }: Collecting): Promise<void> {
  await eventually(() => assert.equal(relay.readers, 1));
}

/** Cuts all connections, as if a reader had failed. The collector notices it when it writes next. */
export function cut(sockets: Socket[]): void {
  for (const socket of sockets.splice(0)) socket.destroy();
}

/** Passes connections on to the collector, so that a test can cut them. */
export async function proxy(
  t: TestContext,
  target: string,
  at: string,
): Promise<{ sockets: Socket[]; blocked: boolean }> {
  const state = { sockets: [] as Socket[], blocked: false };
  const server = createServer((socket) => {
    if (state.blocked) {
      socket.destroy();
      return;
    }
    const other = connect(target);
    state.sockets.push(socket, other);
    for (const one of [socket, other]) one.on('error', () => {});
    socket.pipe(other);
    other.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(at, resolve));
  t.after(() => {
    server.close();
    for (const socket of state.sockets) socket.destroy();
  });
  return state;
}
