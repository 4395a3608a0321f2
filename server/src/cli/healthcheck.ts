import { realpath } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { type Listener, listenersOf } from '../host/listeners.ts';
import { describeError } from '../lib/errno.ts';
import { EXIT } from './exit-codes.ts';
import { print } from './output.ts';

/**
 * The health check of the image, a program of its own. It asks each socket on which the daemon of its container
 * listens. So it follows the address from any source of the settings, and needs neither these settings nor a file that
 * the daemon would have to write.
 */

const TIMEOUT_MS = 4000;

/** Why a socket does not answer; undefined if it does. */
async function problemOf({ host, port }: Listener): Promise<string | undefined> {
  const url = new URL(`http://${isIPv6(host) ? `[${host}]` : host}:${port}/-/healthy`);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  // First TLS, because the server logs and counts a request without TLS on a port with TLS. It does not log the reverse.
  if (await completesHandshake(host, port, signal)) return undefined;
  try {
    const { status } = await fetch(url, { signal });
    // Any other answer also comes from a process that runs, such as a 429 because of a rate limit.
    return status < 500 ? undefined : `${url.host} answers ${status}`;
  } catch (error) {
    const { message, cause } = error as Error;
    return `${url.host} does not answer: ${cause instanceof Error ? cause.message : message}`;
  }
}

/** A handshake is enough: the server may answer requests only to clients with a certificate. */
function completesHandshake(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    // The check asks whether the server answers, not who it is.
    const socket = connect({ host, port, rejectUnauthorized: false }, () => finish(true));
    const finish = (completed: boolean): void => {
      socket.destroy();
      resolve(completed);
    };
    socket.on('error', () => finish(false));
    socket.on('close', () => finish(false));
    signal.addEventListener('abort', () => finish(false));
  });
}

/** What is wrong, for people; empty if the daemon is healthy. */
async function findProblems(): Promise<string[]> {
  const program = await realpath(fileURLToPath(new URL('vfio-dmabuf-tracer.mjs', import.meta.url)));
  const { listeners, denied } = await listenersOf(program);
  if (listeners.length === 0 && denied.length > 0) {
    return [`the sockets of process ${denied.join(', ')} cannot be seen; fix: add the capability SYS_PTRACE`];
  }
  if (listeners.length === 0) return ['no daemon listens in this container'];
  const results = await Promise.all(listeners.map(problemOf));
  return results.filter((problem) => problem !== undefined);
}

const problems = await findProblems().catch((error: unknown) => [describeError(error)]);
await print(process.stdout, `${problems.length === 0 ? 'healthy' : problems.join('\n')}\n`);
process.exit(problems.length === 0 ? EXIT.ok : EXIT.failure);
