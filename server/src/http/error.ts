import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { ApiError } from '../contract/error.ts';
import { TracerError } from '../lib/errors.ts';
import { didYouMean } from '../lib/suggest.ts';

/** For each route of the API, so that 4xx and 5xx answers have a schema too. */
export const errorResponses = {
  '4xx': ApiError,
  '5xx': Type.Object(ApiError.properties, { description: 'the daemon cannot answer now, or has a defect' }),
} as const;

/** Characters of a request that an error message repeats. */
const QUOTED = 100;

/** Headers of every answer: no content sniffing, no use by pages of other origins, no caching. */
export const SAFE_HEADERS = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

export function installErrors(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError | TracerError, request, reply) => {
    if (error instanceof TracerError) {
      if (error.isUserError) return send(reply, statusOf(error), bodyOf(error));
    } else if (error.validation !== undefined) {
      return send(reply, 400, bodyOf(describeValidation(error, request)));
    } else if (error.statusCode !== undefined && error.statusCode < 500) {
      return answerFrameworkError(error, request, reply);
    }
    request.log.error({ err: error, path: pathOf(request) }, 'a request failed');
    const body = bodyOf(
      new TracerError('invariant_broken', 'the daemon failed to answer', {
        remedy: 'this is a bug; the log of the daemon has the details',
      }),
    );
    return send(reply, 500, body);
  });

  const methodsOf = new Map<string, string[]>();
  app.addHook('onRoute', ({ method, url }) => {
    methodsOf.set(url, [...(methodsOf.get(url) ?? []), ...[method].flat()].sort());
  });
  const answerNotFound = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const path = pathOf(request);
    const route = methodsOf.has(path) ? path : [...methodsOf.keys()].find((url) => matches(url, path));
    const methods = methodsOf.get(route ?? '') ?? [];
    // A wildcard route answers GET, but may have nothing at this path: that is a 404.
    if (methods.length > 0 && !methods.includes(request.method)) {
      reply.header('allow', methods.join(', '));
      const error = new TracerError('bad_request', `${quoted(path)} does not answer ${request.method}`, {
        remedy: `use ${methods[0]}`,
      });
      return send(reply, 405, bodyOf(error));
    }
    const error = new TracerError('not_found', `there is nothing at ${quoted(path)}`, {
      remedy: `${didYouMean(path, knownPaths(app))}; / lists them`,
    });
    return send(reply, 404, bodyOf(error));
  };
  // Checked before the body is read: no route accepts one.
  app.addHook('onRequest', (request, reply, next) => {
    if (request.is404) answerNotFound(request, reply);
    else if (hasBody(request)) next(bodyError(request));
    else next();
  });
  app.setNotFoundHandler(answerNotFound);
}

/** The answer to a request that Fastify itself rejects, for example because its URL cannot be decoded. */
export function answerFrameworkError(
  error: FastifyError,
  _request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const remedy =
    error.code === 'FST_ERR_BAD_URL'
      ? 'percent-encode special bytes: % and two hexadecimal digits, %25 for % itself'
      : '/openapi.json lists all routes and parameters';
  return send(
    reply,
    error.statusCode ?? 400,
    bodyOf(new TracerError('bad_request', quoted(error.message), { remedy })),
  );
}

const UNREADABLE: Record<string, readonly [status: string, message: string, remedy: string]> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    'the path with its query and the headers are longer than 16 KiB',
    'shorten the query: give each parameter once',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    '408 Request Timeout',
    'the request was not complete in time',
    'send the complete request at once',
  ],
};

/** The raw answer to input that Node cannot parse as a request. It bypasses Fastify. `secure`: it came over TLS. */
export function answerUnreadable(error: NodeJS.ErrnoException, secure: boolean): string {
  const [status, message, remedy] = UNREADABLE[error.code ?? ''] ?? [
    '400 Bad Request',
    'this is not an HTTP/1.1 request',
    secure ? 'send HTTP/1.1' : 'use plain HTTP on this port, without TLS',
  ];
  return rawAnswer(status, new TracerError('bad_request', message, { remedy }));
}

/** The raw answer to a request without TLS on a port with TLS. Its path and Host header are not known. */
export function answerPlainHttp(): string {
  const remedy = 'write https:// in the URL';
  return rawAnswer('400 Bad Request', new TracerError('bad_request', 'this port needs TLS', { remedy }));
}

/** The raw answer to a method that Node does not pass to routes, such as CONNECT. */
export function answerWithoutRoute(method: string): string {
  const error = new TracerError('bad_request', `no route answers ${method}`, { remedy: 'use GET' });
  return rawAnswer('405 Method Not Allowed', error, ['allow: GET, HEAD']);
}

function rawAnswer(status: string, error: TracerError, headers: readonly string[] = []): string {
  const body = JSON.stringify(bodyOf(error));
  return [
    `HTTP/1.1 ${status}`,
    ...headers,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(SAFE_HEADERS).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
    '',
    body,
  ].join('\r\n');
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function bodyError(request: FastifyRequest): TracerError {
  return new TracerError('bad_request', `${pathOf(request)} takes no body`, {
    remedy: 'send no body; parameters go into the query',
  });
}

/** Whether a path matches a route with parameters (`/a/:name`) or a wildcard (`/a/*`). */
function matches(url: string, path: string): boolean {
  const parts = path.split('/');
  const wanted = url.split('/');
  if (wanted.at(-1) === '*') return wanted.slice(0, -1).every((part, index) => part === parts[index]);
  return (
    wanted.length === parts.length &&
    wanted.every((part, index) => part === parts[index] || (part.startsWith(':') && parts[index] !== ''))
  );
}

/** A part of the request, shortened so that an answer does not repeat kilobytes. */
export function quoted(text: string): string {
  return text.length > QUOTED ? `${text.slice(0, QUOTED)}...` : text;
}

/** Answers with an error in the documented format (ApiError). */
export function sendError(reply: FastifyReply, status: number, error: TracerError): FastifyReply {
  return send(reply, status, bodyOf(error));
}

function bodyOf(error: TracerError): ApiError {
  const { code, message, where, remedy } = error;
  return { error: { code, message, where: where ?? null, hint: remedy ?? null } };
}

function send(reply: FastifyReply, status: number, body: ApiError): FastifyReply {
  // Requests that Fastify itself rejects skip the onRequest hook, so the headers are set here too.
  return reply
    .code(status)
    .headers(SAFE_HEADERS)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(body));
}

function statusOf(error: TracerError): number {
  return error.code === 'not_found' ? 404 : 400;
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?')[0] ?? '/';
}

function knownPaths(app: FastifyInstance): string[] {
  return app.paths.filter((path) => path !== '/');
}

interface QuerySchema {
  properties?: Record<string, { description?: string; pattern?: string }>;
}

/** The error for a query that failed validation, with what is allowed. */
function describeValidation(error: FastifyError, request: FastifyRequest): TracerError {
  const [first] = error.validation ?? [];
  const properties = (request.routeOptions.schema?.querystring as QuerySchema | undefined)?.properties ?? {};
  const params = (first?.params ?? {}) as Record<string, unknown>;
  const where = `query of ${pathOf(request)}`;
  if (first?.keyword === 'additionalProperties') {
    const key = String(params.additionalProperty);
    const known = Object.keys(properties);
    return new TracerError('bad_request', `${quoted(key)} is not a parameter here`, {
      where,
      remedy: known.length === 0 ? 'this path takes no parameters: remove the query' : didYouMean(key, known),
    });
  }
  const key = first?.instancePath.slice(1) ?? '';
  const given = (request.query as Record<string, unknown>)[key];
  const message = `${key} cannot be ${quoted(JSON.stringify(given))}`;
  if (Array.isArray(given)) {
    return new TracerError('bad_request', message, { where, remedy: `give ${key} once` });
  }
  if (first?.keyword === 'enum' && Array.isArray(params.allowedValues)) {
    const remedy = didYouMean(String(given), params.allowedValues.map(String));
    return new TracerError('bad_request', message, { where, remedy });
  }
  const rule = first?.keyword === 'pattern' ? undefined : first?.message;
  const remedy = [rule, properties[key]?.description].filter((text) => text !== undefined).join('; ');
  return new TracerError('bad_request', message, { where, remedy });
}
