import { lookup as systemLookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { TracerError } from '../support/errors.ts';

/** One socket to open. */
export interface ListenAddress {
  /** As it was given, for messages. */
  text: string;
  /** An IP address; empty is every interface. */
  host: string;
  port: number;
  /** One of several addresses of a host name: the others serve where this host does not have it. */
  optional: boolean;
}

/** The addresses of a host name; an IP address is its own. */
export type Lookup = (host: string, options: { all: true }) => Promise<{ address: string }[]>;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether an IP address is of this host alone, also one that is written as `::ffff:127.0.0.1`. */
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
 * Every address to listen on; of a host name all that it has, and each address and port once.
 *
 * @param texts HOST:PORT each
 * @throws TracerError where a name has no address
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

/** Says why an address cannot be listened on, and what to do. */
export function listenError(error: NodeJS.ErrnoException, text: string): TracerError {
  const known: Record<string, readonly [string, string]> = {
    EADDRINUSE: ['another program listens there', 'stop it, or choose another --web.listen-address'],
    EACCES: ['this user may not listen there', 'choose a port above 1023 with --web.listen-address'],
    EADDRNOTAVAIL: ['this host has no such address', 'choose an address of this host, see `ip address`'],
    EAFNOSUPPORT: ['this host has no IPv6', 'choose an IPv4 address, or enable IPv6'],
    ENOTFOUND: ['this name has no address', 'give --web.listen-address a numeric address'],
    EAI_AGAIN: ['the name service does not answer', 'give --web.listen-address a numeric address'],
  };
  const [why, remedy] = known[error.code ?? ''] ?? [error.message, 'choose another --web.listen-address'];
  return new TracerError('address_unavailable', `cannot listen on ${text}: ${why}`, {
    where: 'web.listen-address',
    remedy,
    cause: error,
  });
}

/** Whether an error means that this host does not have the address. */
export function isMissing(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT';
}
