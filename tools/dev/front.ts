import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { pipeline } from 'node:stream';
import type { BundleFiles } from './builder.ts';

const CHANGES = '/dev/changes';
const ASSETS = '/assets/';
const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.map': 'application/json',
};
/** Headers of a single connection. The front has two connections for each request, so it does not forward them. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding'];

/**
 * HTTP server at the address of `npm run dev`. It forwards requests to the current program, so that a new program
 * replaces the old one without a gap. It serves the files of the page itself, so that a change of the page needs no new
 * program.
 */
export class Front {
  readonly #server = createServer((incoming, response) => this.#answer(incoming, response));
  // No keep-alive: an idle connection to a program that stops would make the next request fail.
  readonly #agent = new Agent({ keepAlive: false });
  readonly #pages = new Set<ServerResponse>();
  #port: number | undefined;
  #files: BundleFiles = new Map();
  #build = Date.now();
  #problem = '';

  /** Listens on the loopback address and resolves with the URL. @throws Error of node, such as EADDRINUSE. */
  async start(port: number): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', resolve);
    });
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Serves the program at this port, and this page, from now on. An undefined port means that no program runs. */
  serve(port: number | undefined, files: BundleFiles): void {
    this.#port = port;
    this.#files = files;
    this.#build += 1;
    for (const page of this.#pages) this.#sendBuild(page);
  }

  /** Shows a problem on open pages, and instead of the page while no program runs. '' clears it. */
  report(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    for (const page of this.#pages) this.#sendProblem(page);
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #answer(incoming: IncomingMessage, response: ServerResponse): void {
    const path = (incoming.url ?? '/').split('?', 1)[0] ?? '/';
    const name = path.startsWith(ASSETS) ? path.slice(ASSETS.length) : '';
    const file = this.#files.get(name);
    if (path === CHANGES) this.#follow(response);
    else if (file !== undefined) this.#sendFile(response, name, file);
    else if (this.#port !== undefined) this.#passOn(incoming, response, this.#port);
    else this.#unavailable(response, this.#problem || 'building');
  }

  #sendFile(response: ServerResponse, name: string, file: Uint8Array): void {
    const type = TYPES[extname(name)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(file);
  }

  #passOn(incoming: IncomingMessage, response: ServerResponse, port: number): void {
    const { method, url: path, headers } = incoming;
    const onward = request({ host: '127.0.0.1', port, method, path, headers, agent: this.#agent });
    onward.once('response', (answer) => {
      const passed = Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.includes(name));
      response.writeHead(answer.statusCode ?? 502, Object.fromEntries(passed));
      // An event stream may send nothing for some time, but the client needs the headers at once.
      response.flushHeaders();
      pipeline(answer, response, () => {});
    });
    onward.once('error', (error) => {
      if (response.headersSent) response.destroy();
      else this.#unavailable(response, `the program did not answer: ${error.message}`);
    });
    response.once('close', () => onward.destroy());
    incoming.pipe(onward);
  }

  #unavailable(response: ServerResponse, text: string): void {
    const headers = {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      refresh: '1',
    };
    response.writeHead(503, headers).end(`npm run dev: ${text}\n`);
  }

  #follow(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    this.#pages.add(response);
    response.once('close', () => this.#pages.delete(response));
    this.#sendBuild(response);
    this.#sendProblem(response);
  }

  #sendBuild(page: ServerResponse): void {
    page.write(`event: build\ndata: ${this.#build}\n\n`);
  }

  #sendProblem(page: ServerResponse): void {
    page.write(`event: problem\ndata: ${JSON.stringify(this.#problem)}\n\n`);
  }
}
