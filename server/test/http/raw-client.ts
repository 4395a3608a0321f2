import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import { HttpServer, type HttpServerOptions } from '../../src/http/server.ts';
import { type BuildOptions, type Built, build } from './build.ts';

/** A client on a plain socket. It keeps all received text, or stops reading. */
export class RawClient {
  readonly socket: Socket;
  text = '';
  closed = false;

  constructor(port: number, host = '127.0.0.1') {
    this.socket = connect(port, host);
    this.socket.setEncoding('utf8');
    this.socket.on('data', (chunk: string) => {
      this.text += chunk;
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
  }

  /** Pipelines a GET request for each path. */
  get(...paths: string[]): this {
    this.socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`).join(''));
    return this;
  }

  /** Stops reading, so that the socket buffers fill. */
  stopReading(): this {
    this.socket.pause();
    return this;
  }

  get statuses(): number[] {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  }
}

export interface LogLine {
  level: number;
  msg: string;
  reason?: string;
  address?: string;
  host?: string;
}

export interface Serving extends Built {
  server: HttpServer;
  port: number;
  log_lines: LogLine[];
  /** Paths of the requests that reached a route, in order. */
  handled: string[];
  open: () => RawClient;
  /** The status of a GET on a new connection. */
  status: (path: string) => Promise<number>;
}

/** A server that listens on a free port of the loopback address. */
export async function serve(
  t: TestContext,
  options: BuildOptions & Partial<Pick<HttpServerOptions, 'addresses' | 'limits' | 'lookup'>> = {},
): Promise<Serving> {
  const { addresses = ['127.0.0.1:0'], limits = {}, lookup, ...rest } = options;
  const built = await build(t, rest);
  const handled: string[] = [];
  built.app.addHook('onRequest', (request, _reply, done) => {
    handled.push(request.url);
    done();
  });
  built.app.get('/big', () => BIG);
  const log_lines: LogLine[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => log_lines.push(JSON.parse(line)) });
  const server = new HttpServer({
    app: built.app,
    addresses,
    logger,
    limits,
    ...(lookup === undefined ? {} : { lookup }),
  });
  await server.start();
  const clients: RawClient[] = [];
  t.after(() => {
    for (const { socket } of clients) socket.destroy();
    return server.stop();
  });
  const [url = ''] = server.urls;
  const port = Number(new URL(url).port);
  const open = (): RawClient => {
    const client = new RawClient(port);
    clients.push(client);
    return client;
  };
  const status = async (path: string): Promise<number> => {
    const answer = await fetch(`${url}${path}`, { headers: { connection: 'close' } });
    await answer.arrayBuffer();
    return answer.status;
  };
  return { ...built, server, port, log_lines, handled, open, status };
}

/** More than the socket buffers hold for a client that does not read. */
export const BIG = 'x'.repeat(24 << 20);
