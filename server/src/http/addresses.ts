import { lookup as systemLookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { TracerError } from '../lib/errors.ts';

/** One socket to open. */
export interface ListenAddress {
  /** The address as configured, for messages. */
  text: string;
  /** An IP address; empty means every interface. */
  host: string;
  port: number;
  /** One of several addresses of a host name. If this host does not have it, the server listens on the others. */
  optional: boolean;
}

/** Resolves a host name to its addresses, and an IP address to itself. */
export type Lookup = (host: string, options: { all: true }) => Promise<{ address: string }[]>;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether an IP address is a loopback address. `::ffff:127.0.0.1` counts as one. */
export function isLoopback(address: string): boolean {
  const version = isIP(address);
  return version !== 0 && LOOPBACK.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

export function splitAddress(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(':');
  const host = text.slice(0, colon);
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port: Number(text.slice(colon + 1)) };
}

/**
 * Resolves the listen addresses. A host name yields all its addresses. Each pair of address and port occurs once.
 *
 * @param texts HOST:PORT each
 * @throws TracerError if a name has no address
 */
export async function resolveAddresses(
  texts: readonly string[],
  lookup: Lookup = systemLookup,
): Promise<ListenAddress[]> {
  const found = new Map<string, ListenAddress>();
  for (const text of texts) {
    const { host, port } = splitAddress(text);
    const hosts = host === '' ? [''] : await addressesOf(host, text, lookup);
    for (const [index, one] of hosts.entries()) {
      const key = port === 0 ? `${text} ${index} ${found.size}` : `${one} ${port}`;
      const address = { text, host: one, port, optional: hosts.length > 1 };
      if (!found.has(key)) found.set(key, address);
    }
  }
  return [...found.values()];
}

async function addressesOf(host: string, text: string, lookup: Lookup): Promise<string[]> {
  try {
    const addresses = await lookup(host, { all: true });
    return [...new Set(addresses.map(({ address }) => address))];
  } catch (error) {
    throw listenError(error as NodeJS.ErrnoException, text);
  }
}

/** The error for an address that cannot be bound, with its cause and fix. */
export function listenError(error: NodeJS.ErrnoException, text: string): TracerError {
  const known: Record<string, readonly [string, string]> = {
    EADDRINUSE: [
      'another program already listens on it',
      'stop that program, or choose another --web.listen-address',
    ],
    EACCES: ['this user may not listen on it', 'choose a port above 1023 with --web.listen-address'],
    EADDRNOTAVAIL: [
      'this host has no such address',
      'choose an address of this host; `ip address` lists them',
    ],
    EAFNOSUPPORT: ['this host has no IPv6', 'choose an IPv4 address, or enable IPv6'],
    ENOTFOUND: ['this name has no address', 'give --web.listen-address a numeric address'],
    EAI_AGAIN: ['the name service does not respond', 'give --web.listen-address a numeric address'],
  };
  const [why, remedy] = known[error.code ?? ''] ?? [error.message, 'choose another --web.listen-address'];
  return new TracerError('address_unavailable', `cannot listen on ${text}: ${why}`, {
    where: 'web.listen-address',
    remedy,
    cause: error,
  });
}

/** The error for a socket of systemd that cannot be served. */
export function descriptorError(fd: number, cause: Error): TracerError {
  return new TracerError('address_unavailable', `cannot serve descriptor ${fd}: ${cause.message}`, {
    where: 'web.systemd-socket',
    remedy: 'give the socket unit only ListenStream= with addresses or ports',
    cause,
  });
}

/** Whether an error means that this host does not have the address. */
export function isMissing(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT';
}
