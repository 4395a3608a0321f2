import type { FastifyRequest } from 'fastify';
import type { WebSettings } from '../../config/web-file.ts';
import type { Clock } from '../../lib/clock.ts';
import { TracerError } from '../../lib/errors.ts';
import type { AuthResult, BasicAuth } from './basic-auth.ts';
import { TokenBucket } from './rate-limit.ts';

/** Why a request was rejected because of the web configuration file. */
export type AccessReason = 'rate_limit' | 'no_credentials' | 'wrong_credentials' | 'busy';

export interface AccessRejection {
  status: 401 | 429;
  headers: Record<string, string>;
  error: TracerError;
}

export interface AccessOptions {
  settings: () => WebSettings;
  auth: BasicAuth;
  clock: Pick<Clock, 'bootUs'>;
  /** Not called for a request without credentials: a browser always sends one first. */
  onRejected: (message: string, from: string) => void;
}

/** Probes of an orchestrator have no password. Their answers have no content that needs one. */
const OPEN = ['/-/healthy', '/-/ready'];

const CHALLENGE = { 'www-authenticate': 'Basic realm="vfio-dmabuf-tracer", charset="UTF-8"' };
const RETRY = { 'retry-after': '1' };

const REJECTIONS: Record<AccessReason, AccessRejection> = {
  rate_limit: {
    status: 429,
    headers: RETRY,
    error: errorOf(
      'rate_limit of the web configuration file is exceeded',
      'ask less often, or raise rate_limit',
    ),
  },
  no_credentials: {
    status: 401,
    headers: CHALLENGE,
    error: errorOf('this server needs a user and a password', 'send them with basic authentication'),
  },
  wrong_credentials: {
    status: 401,
    headers: CHALLENGE,
    error: errorOf('the user or the password is wrong', 'compare them with basic_auth_users of the server'),
  },
  busy: {
    status: 429,
    headers: RETRY,
    error: errorOf('too many passwords wait for their check', 'try again later'),
  },
};

const REASONS: Record<Exclude<AuthResult, 'ok'>, AccessReason> = {
  missing: 'no_credentials',
  wrong: 'wrong_credentials',
  busy: 'busy',
};

function errorOf(message: string, remedy: string): TracerError {
  return new TracerError('bad_request', message, { remedy });
}

/** Decides which requests may pass: the rate limit, then user and password. */
export class Access {
  readonly rejected: Record<AccessReason, number> = {
    rate_limit: 0,
    no_credentials: 0,
    wrong_credentials: 0,
    busy: 0,
  };
  readonly #options: AccessOptions;
  #bucket: { text: string; bucket: TokenBucket } | undefined;

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /** Whether a client must sign in for what is not public. */
  get needsUser(): boolean {
    return this.#options.settings().users.size > 0;
  }

  /** Why the request is rejected; undefined if it may pass. */
  async check(request: FastifyRequest): Promise<AccessRejection | undefined> {
    const { users } = this.#options.settings();
    if (!this.#hasToken()) return this.#reject('rate_limit', request);
    if (users.size === 0 || OPEN.includes(request.routeOptions.url ?? '')) return undefined;
    const result = await this.#options.auth.check(users, request.headers.authorization, request.ip);
    return result === 'ok' ? undefined : this.#reject(REASONS[result], request);
  }

  #reject(reason: AccessReason, { ip }: FastifyRequest): AccessRejection {
    this.rejected[reason] += 1;
    const rejection = REJECTIONS[reason];
    if (reason !== 'no_credentials') this.#options.onRejected(rejection.error.message, ip);
    return rejection;
  }

  /** A bucket lasts until the limit changes. */
  #hasToken(): boolean {
    const { rateLimit } = this.#options.settings();
    if (rateLimit === undefined) return true;
    const nowMs = this.#options.clock.bootUs() / 1000;
    const text = JSON.stringify(rateLimit);
    if (this.#bucket?.text !== text) this.#bucket = { text, bucket: new TokenBucket(rateLimit, nowMs) };
    return this.#bucket.bucket.take(nowMs);
  }
}
