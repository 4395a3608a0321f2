import type { RequestListener, ServerOptions } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { answerPlainHttp } from '../error.ts';
import { asksForCertificate, explainRejected } from './client-certificate.ts';
import type { LoadedTls } from './load.ts';

export interface TlsServerOptions {
  http: ServerOptions;
  receive: RequestListener;
  /** Milliseconds for a handshake. */
  handshakeMs: number;
  /** The certificates and rules for new connections. */
  current: () => LoadedTls;
  /** A handshake is complete and its client is allowed: requests arrive on `socket`. */
  onSecure: (transport: Socket, socket: TLSSocket) => void;
  /** A handshake failed, or its client is not allowed. The caller closes the connection. */
  onRejected: (transport: Socket, why: string) => void;
}

/** The client sent a request without TLS. */
const PLAIN_HTTP = 'ERR_SSL_HTTP_REQUEST';

/** A server whose certificates and rules for clients can change while it listens. */
export function createTlsServer(options: TlsServerOptions): Server {
  const { http, receive, handshakeMs, current, onSecure, onRejected } = options;
  const { context, settings } = current();
  const server = createServer(
    {
      ...http,
      ...context,
      requestCert: asksForCertificate(settings),
      // explainRejected decides, because the rules can change.
      rejectUnauthorized: false,
      handshakeTimeout: handshakeMs,
    },
    receive,
  );
  // Node does not say which TCP connection a TLS socket uses. The addresses and ports of both ends are the same.
  const transports = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    const ends = endsOf(socket);
    transports.set(ends, socket);
    socket.once('close', () => transports.delete(ends));
  });
  // Before the listener with which Node reads requests.
  server.prependListener('secureConnection', (socket) => {
    const transport = transports.get(endsOf(socket));
    const why = explainRejected(socket, current().settings);
    if (transport === undefined) socket.destroy();
    else if (why === undefined) onSecure(transport, socket);
    else onRejected(transport, why);
  });
  server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    const transport = transports.get(endsOf(socket));
    // A client that only opens and closes a connection, such as a port check, is not a failure.
    if (transport === undefined || error.code === 'ECONNRESET') return;
    if (error.code === PLAIN_HTTP) transport.write(answerPlainHttp());
    onRejected(transport, explainError(error));
  });
  return server;
}

/** Uses other certificates and rules for new connections. */
export function replaceTls(server: Server, { context, settings }: LoadedTls): void {
  // A new context also has new keys for session tickets, so no client can resume a session of the old rules.
  server.setSecureContext(context);
  // Node has no method for this. tls.Server reads the property at each connection.
  Object.assign(server, { requestCert: asksForCertificate(settings) });
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function explainError({ code, message, ...more }: NodeJS.ErrnoException): string {
  if (code === PLAIN_HTTP) return 'the client sent plain HTTP: its URL must begin with https://';
  const { reason } = more as { reason?: string };
  return `the TLS handshake failed: ${reason ?? code ?? message}`;
}
