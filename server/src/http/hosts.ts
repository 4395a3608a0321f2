import { lookup, lookupService } from 'node:dns/promises';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { TracerError } from '../lib/errors.ts';
import { splitAddress } from './addresses.ts';

export interface HostNamesOptions {
  /** The listen addresses, HOST:PORT each. Their host names are allowed. */
  addresses: readonly string[];
  /** `web.allowed-hosts`: names, `*.DOMAIN` for all names below a domain, `*` for any name. */
  allowed: readonly string[];
  /** Called when a request is rejected because of this name. */
  onUnknown?: (name: string) => void;
}

/** Why a request is rejected, and the HTTP status. */
export interface HostRejection {
  status: 400 | 421;
  error: TracerError;
}

/** Looks up the names of this host. */
export interface NameService {
  own: string;
  lookup: (name: string, options: { all: true }) => Promise<{ address: string }[]>;
  lookupService: (address: string, port: number) => Promise<{ hostname: string }>;
}

const SYSTEM: NameService = { own: hostname(), lookup, lookupService };

const WHERE = 'header Host';

/**
 * The names that the Host header of a request may contain. This prevents DNS rebinding: another site resolves its name
 * to an address of this host, and a browser then sends that site's scripts' requests here. Such requests have the
 * site's name in their Host header. An IP address or a name below `localhost` is always allowed: an attacker cannot
 * redirect those.
 */
export class HostNames {
  readonly #names = new Set(['localhost']);
  #allowed: { names: ReadonlySet<string>; suffixes: readonly string[]; any: boolean };
  readonly #onUnknown: (name: string) => void;

  constructor({ addresses, allowed, onUnknown = () => {} }: HostNamesOptions) {
    this.#onUnknown = onUnknown;
    for (const name of addresses.map((address) => splitAddress(address).host)) this.#add(name);
    this.#allowed = allowedOf(allowed);
  }

  /** Replaces `web.allowed-hosts`. */
  allow(allowed: readonly string[]): void {
    this.#allowed = allowedOf(allowed);
  }

  /**
   * Allows this host's names: the short name, and those that reverse lookup finds (as `hostname --fqdn`). Never throws.
   */
  async addOwnNames({ own, lookup, lookupService }: NameService = SYSTEM): Promise<void> {
    this.#add(own);
    this.#add(own.split('.')[0] ?? own);
    const addresses = await lookup(own, { all: true }).catch(() => []);
    for (const { address } of addresses) {
      const service = await lookupService(address, 0).catch(() => undefined);
      if (service !== undefined) this.#add(service.hostname);
    }
  }

  /** Why a request is rejected; undefined if its Host header is allowed. */
  check(request: IncomingMessage): HostRejection | undefined {
    const given = request.rawHeaders.filter((_, index, all) => index % 2 === 1 && isHost(all[index - 1]));
    const [header = ''] = given;
    if (given.length > 1) {
      return badRequest('the request has more than one Host header', 'send one Host header');
    }
    if (header === '') {
      // HTTP/1.0 does not require the header. Browsers always send it, so there is no DNS rebinding without it.
      if (request.httpVersion === '1.0') return undefined;
      return badRequest(
        'the request has no Host header',
        'send a Host header with the name or address of this server',
      );
    }
    const name = hostnameOf(header);
    if (name === undefined) {
      return badRequest(
        'the Host header is not HOST or HOST:PORT',
        'send the name or address of this server',
      );
    }
    if (this.#isAllowed(name)) return undefined;
    this.#onUnknown(shortened(name));
    const error = new TracerError(
      'bad_request',
      `this server does not accept the host name ${shortened(name)}`,
      {
        where: WHERE,
        remedy:
          'use an IP address of this server or localhost, or add this name to --web.allowed-hosts (a list; `*` allows any name)',
      },
    );
    return { status: 421, error };
  }

  #isAllowed(name: string): boolean {
    const { any, names, suffixes } = this.#allowed;
    if (any || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) return true;
    return this.#names.has(name) || names.has(name) || suffixes.some((suffix) => name.endsWith(suffix));
  }

  #add(text: string): void {
    const name = text === '' ? undefined : hostnameOf(text);
    if (name !== undefined) this.#names.add(name);
  }
}

function allowedOf(allowed: readonly string[]) {
  const isSuffix = (name: string): boolean => name.startsWith('*.');
  const suffixes = allowed.filter(isSuffix).map((name) => `.${hostnameOf(name.slice(2)) ?? ''}`);
  return {
    any: allowed.includes('*'),
    names: new Set(allowed.filter((name) => !isSuffix(name)).flatMap((name) => hostnameOf(name) ?? [])),
    suffixes: ['.localhost', ...suffixes],
  };
}

function isHost(name: string | undefined): boolean {
  return name?.toLowerCase() === 'host';
}

function badRequest(message: string, remedy: string): HostRejection {
  return { status: 400, error: new TracerError('bad_request', message, { where: WHERE, remedy }) };
}

/**
 * The name or address in a Host header, normalized like a URL: lower case, `127.1` as 127.0.0.1. Undefined if it is
 * malformed.
 */
function hostnameOf(header: string): string | undefined {
  const url = `http://${header}`;
  if (/[\s/?#@\\]/.test(header) || !URL.canParse(url)) return undefined;
  return new URL(url).hostname.replace(/\.$/, '');
}

function shortened(name: string): string {
  return name.length > 100 ? `${name.slice(0, 100)}...` : name;
}
