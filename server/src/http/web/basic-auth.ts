import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { PasswordChecker } from './password-checker.ts';

/** `missing`: the request has no user and password. `busy`: too many other passwords wait for their check. */
export type AuthResult = 'ok' | 'missing' | 'wrong' | 'busy';

/** Passwords of one client address, and of all, that may wait for their check. */
const MAX_WAITING_OF_ADDRESS = 4;
const MAX_WAITING = 64;

const DEFAULT_COST = 10;

/**
 * Checks user and password against bcrypt hashes. The last right password of each user is remembered as a keyed digest,
 * so a scrape does not wait for a hash, nor behind the wrong passwords of others.
 */
export class BasicAuth {
  readonly #checker = new PasswordChecker();
  readonly #secret = randomBytes(32);
  /** The digest of hash and password that matched, by user. */
  readonly #known = new Map<string, Buffer>();
  /** Checks that run or wait, so that equal requests share one. */
  readonly #pending = new Map<string, Promise<boolean>>();
  readonly #waiting = new Map<string, number>();

  /** @param authorization the header of the request  @param from the address of the client */
  async check(
    users: ReadonlyMap<string, string>,
    authorization: string | undefined,
    from: string,
  ): Promise<AuthResult> {
    const given = credentialsOf(authorization);
    if (given === undefined) return 'missing';
    const { user, password } = given;
    // An unknown user costs as much time as a known one, so that the time of an answer does not reveal the users.
    const hash = users.get(user) ?? unmatched(users);
    const digest = createHmac('sha256', this.#secret).update(`${hash}\0${password}`).digest();
    const known = this.#known.get(user);
    if (known !== undefined && timingSafeEqual(known, digest)) return 'ok';
    const matches = this.#share(`${digest.toString('base64')} ${user}`, from, password, hash);
    if (matches === undefined) return 'busy';
    if (!(await matches) || !users.has(user)) return 'wrong';
    this.#known.set(user, digest);
    return 'ok';
  }

  stop(): Promise<void> {
    return this.#checker.stop();
  }

  #share(key: string, from: string, password: string, hash: string): Promise<boolean> | undefined {
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    const waiting = this.#waiting.get(from) ?? 0;
    if (waiting >= MAX_WAITING_OF_ADDRESS || this.#pending.size >= MAX_WAITING) return undefined;
    this.#waiting.set(from, waiting + 1);
    const check = this.#checker.check(password, hash).finally(() => {
      this.#pending.delete(key);
      const left = (this.#waiting.get(from) ?? 1) - 1;
      if (left === 0) this.#waiting.delete(from);
      else this.#waiting.set(from, left);
    });
    this.#pending.set(key, check);
    return check;
  }
}

/** A hash that no known password has, with the highest cost of the users. */
function unmatched(users: ReadonlyMap<string, string>): string {
  const cost = Math.max(...[...users.values()].map((hash) => Number(hash.slice(4, 6))));
  return `$2b$${String(cost || DEFAULT_COST).padStart(2, '0')}$${'.'.repeat(53)}`;
}

function credentialsOf(header: string | undefined): { user: string; password: string } | undefined {
  const encoded = /^basic +([A-Za-z0-9+/]+=*) *$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
