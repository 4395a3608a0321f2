import { get } from 'node:https';
import type { TestContext } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { pino } from 'pino';
import { HttpServer } from '../../../src/http/server.ts';
import { Access } from '../../../src/http/web/access.ts';
import { BasicAuth } from '../../../src/http/web/basic-auth.ts';
import { WebConfig } from '../../../src/http/web/web-config.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { pemOf, WebConfigFolder } from '../../fixtures/web-config.ts';
import { type BuildOptions, build } from '../build.ts';

export const SERVER = 'cert_file: server.pem, key_file: server.key';

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
  /** The common name of the certificate of the server. */
  server: string;
  protocol: string | null;
}

export interface SecureServer {
  files: WebConfigFolder;
  web: WebConfig;
  server: HttpServer;
  access: Access;
  port: number;
  log: { msg: string; why?: string; where?: string }[];
  /** A GET on a new TLS connection. Rejects if the connection fails. */
  ask: (path: string, options?: ConnectionOptions & { headers?: Record<string, string> }) => Promise<Answer>;
}

/** The certificate with which a client of the tests connects. */
export function clientCertificate(name: string): ConnectionOptions {
  return { cert: pemOf(`${name}.pem`), key: pemOf(`${name}.key`) };
}

/** A server with TLS on a free port of the loopback address, with this web configuration file. */
export async function serveSecurely(
  t: TestContext,
  text: string,
  options: BuildOptions & { limits?: ConstructorParameters<typeof HttpServer>[0]['limits'] } = {},
): Promise<SecureServer> {
  const { limits = {}, ...buildOptions } = options;
  const log: SecureServer['log'] = [];
  const logger = pino({ level: 'info' }, { write: (line) => log.push(JSON.parse(line)) });
  const files = new WebConfigFolder(t, text);
  const web = new WebConfig({ path: files.path, logger, clock: systemClock });
  await web.start();
  const auth = new BasicAuth();
  const access = new Access({
    settings: () => web.current.settings,
    auth,
    clock: systemClock,
    onRejected: (msg) => log.push({ msg }),
  });
  const { app } = await build(t, { access, ...buildOptions });
  const server = new HttpServer({ app, addresses: ['127.0.0.1:0'], logger, web, limits });
  await server.start();
  t.after(async () => {
    web.stop();
    await server.stop();
    await auth.stop();
  });
  const port = Number(new URL(server.urls[0] ?? '').port);
  const ask: SecureServer['ask'] = (path, { headers = {}, ...tls } = {}) =>
    new Promise((resolve, reject) => {
      const request = get(
        { host: '127.0.0.1', port, path, headers, agent: false, ca: pemOf('ca.pem'), ...tls },
        (answer) => {
          let body = '';
          const socket = answer.socket as import('node:tls').TLSSocket;
          const name = socket.getPeerCertificate().subject?.CN;
          const protocol = socket.getProtocol();
          answer.setEncoding('utf8').on('data', (chunk: string) => {
            body += chunk;
          });
          answer.on('end', () =>
            resolve({
              status: answer.statusCode ?? 0,
              headers: answer.headers,
              body,
              server: String(name),
              protocol,
            }),
          );
          answer.on('error', reject);
        },
      );
      request.on('error', reject);
    });
  return { files, web, server, access, port, log, ask };
}

export function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}
