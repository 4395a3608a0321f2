import { lookup, lookupService } from 'node:dns/promises';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { TracerError } from '../support/errors.ts';
import { splitAddress } from './addresses.ts';

export interface HostNamesOptions {
  /** HOST:PORT each that the server listens on: their names are allowed. */
  addresses: readonly string[];
  /** `web.allowed-hosts`: a name, `*.DOMAIN` for all names below a domain, or `*` for any name. */
  allowed: readonly string[];
  /** A request was rejected because of this name. */
  onUnknown?: (name: string) => void;
}

/** A rejection and its HTTP status. */
export interface HostRejection {
  status: 400 | 421;
  error: TracerError;
}

/** What knows the names of this host. */
export interface NameService {
  own: string;
  lookup: (name: string, options: { all: true }) => Promise<{ address: string }[]>;
  lookupService: (address: string, port: number) => Promise<{ hostname: string }>;
}

const SYSTEM: NameService = { own: hostname(), lookup, lookupService };

const WHERE = 'header Host';

/**
 * The names that a request may have in its Host header. A page of another site can make a browser connect here by pointing its own
 * name at an address of this host (DNS rebinding). Its requests have that name, and so they are found. An IP address or a name below
 * `localhost` is always allowed: no one else can point those anywhere.
 */
export class HostNames {
  readonly #names = new Set(['localhost']);
  readonly #suffixes = ['.localhost'];
  readonly #any: boolean;
  readonly #onUnknown: (name: string) => void;

  constructor({ addresses, allowed, onUnknown = () => {} }: HostNamesOptions) {
    this.#any = allowed.includes('*');
    this.#onUnknown = onUnknown;
    for (const name of addresses.map((address) => splitAddress(address).host)) this.#add(name);
    for (const name of allowed) {
      if (name.startsWith('*.')) this.#suffixes.push(`.${hostnameOf(name.slice(2)) ?? ''}`);
      else this.#add(name);
    }
  }

  /** Allows this host's own names, the short one and those that `hostname --fqdn` would find. Never throws. */
  async addOwnNames({ own, lookup, lookupService }: NameService = SYSTEM): Promise<void> {
    this.#add(own);
    this.#add(own.split('.')[0] ?? own);
    const addresses = await lookup(own, { all: true }).catch(() => []);
    for (const { address } of addresses) {
      const service = await lookupService(address, 0).catch(() => undefined);
      if (service !== undefined) this.#add(service.hostname);
    }
  }

  /** Why a request is rejected, or undefined where its Host header is as it must be. */
  check(request: IncomingMessage): HostRejection | undefined {
    const given = request.rawHeaders.filter((_, index, all) => index % 2 === 1 && isHost(all[index - 1]));
    const [header = ''] = given;
    if (given.length > 1) {
      return badRequest('the request has more than one Host header', 'send one Host header');
    }
    if (header === '') {
      // A browser always sends one, and HTTP/1.0 does not need one.
      if (request.httpVersion === '1.0') return undefined;
      return badRequest(
        'the request has no Host header',
        'send one, with the name or address of this server',
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
      `this server does not answer for the host ${shortened(name)}`,
      {
        where: WHERE,
        remedy:
          'use an IP address of this server or localhost, or start it with this name in --web.allowed-hosts (a list, `*` for any name)',
      },
    );
    return { status: 421, error };
  }

  #isAllowed(name: string): boolean {
    if (this.#any || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) return true;
    return this.#names.has(name) || this.#suffixes.some((suffix) => name.endsWith(suffix));
  }

  #add(text: string): void {
    const name = text === '' ? undefined : hostnameOf(text);
    if (name !== undefined) this.#names.add(name);
  }
}

function isHost(name: string | undefined): boolean {
  return name?.toLowerCase() === 'host';
}

function badRequest(message: string, remedy: string): HostRejection {
  return { status: 400, error: new TracerError('bad_request', message, { where: WHERE, remedy }) };
}

/** The name or address in a Host header as browsers write it: lower case, `127.1` as 127.0.0.1; undefined where there is none. */
function hostnameOf(header: string): string | undefined {
  const url = `http://${header}`;
  if (/[\s/?#@\\]/.test(header) || !URL.canParse(url)) return undefined;
  return new URL(url).hostname.replace(/\.$/, '');
}

function shortened(name: string): string {
  return name.length > 100 ? `${name.slice(0, 100)}...` : name;
}
