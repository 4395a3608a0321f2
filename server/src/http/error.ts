import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import { TracerError } from '../support/errors.ts';
import { didYouMean } from '../support/suggest.ts';

/** Body of every answer that is not a success. */
export const ApiError = Type.Object({
  error: Type.Object({
    code: Type.String(),
    message: Type.String(),
    where: Type.Union([Type.String(), Type.Null()]),
    hint: Type.Union([Type.String(), Type.Null()], { description: 'how to ask instead' }),
  }),
});
export type ApiError = Static<typeof ApiError>;

/** Given to each route of the API, so that 4xx and 5xx have a schema as well. */
export const errorResponses = { '4xx': ApiError, '5xx': ApiError } as const;

export function installErrors(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError | TracerError, request, reply) => {
    if (error instanceof TracerError) {
      if (error.isUserError) return send(reply, statusOf(error), bodyOf(error));
    } else if (error.validation !== undefined) {
      return send(reply, 400, bodyOf(describeValidation(error, request)));
    } else if (error.statusCode !== undefined && error.statusCode < 500) {
      return send(reply, error.statusCode, bodyOf(new TracerError('bad_request', error.message)));
    }
    request.log.error({ err: error, path: pathOf(request) }, 'a request failed');
    const body = bodyOf(
      new TracerError('invariant_broken', 'the daemon failed to answer', {
        remedy: 'this is a defect; its log has the details',
      }),
    );
    return send(reply, 500, body);
  });

  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request);
    if (request.method !== 'GET' && app.hasRoute({ method: 'GET', url: path })) {
      reply.header('allow', app.hasRoute({ method: 'HEAD', url: path }) ? 'GET, HEAD' : 'GET');
      const error = new TracerError('bad_request', `${path} does not answer ${request.method}`, {
        remedy: 'use GET',
      });
      return send(reply, 405, bodyOf(error));
    }
    const error = new TracerError('not_found', `there is nothing at ${path}`, {
      remedy: `${didYouMean(path, knownPaths(app))}; / lists them`,
    });
    return send(reply, 404, bodyOf(error));
  });
}

/** For what Fastify refuses before it knows a route: a URL that cannot be decoded. */
export function answerFrameworkError(
  error: FastifyError,
  _request: FastifyRequest,
  reply: FastifyReply,
): void {
  send(reply, error.statusCode ?? 400, bodyOf(new TracerError('bad_request', error.message)));
}

function bodyOf(error: TracerError): ApiError {
  const { code, message, where, remedy } = error;
  return { error: { code, message, where: where ?? null, hint: remedy ?? null } };
}

function send(reply: FastifyReply, status: number, body: ApiError): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(JSON.stringify(body));
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

/** Says a failed validation of a query in words, with what would be right. */
function describeValidation(error: FastifyError, request: FastifyRequest): TracerError {
  const [first] = error.validation ?? [];
  const properties = (request.routeOptions.schema?.querystring as QuerySchema | undefined)?.properties ?? {};
  const params = (first?.params ?? {}) as Record<string, unknown>;
  const where = `query of ${pathOf(request)}`;
  if (first?.keyword === 'additionalProperties') {
    const key = String(params.additionalProperty);
    return new TracerError('bad_request', `${key} is not a parameter here`, {
      where,
      remedy: didYouMean(key, Object.keys(properties)),
    });
  }
  const key = first?.instancePath.slice(1) ?? '';
  const given = (request.query as Record<string, unknown>)[key];
  const message = `${key} cannot be ${JSON.stringify(given)}`;
  if (first?.keyword === 'enum' && Array.isArray(params.allowedValues)) {
    const remedy = didYouMean(String(given), params.allowedValues.map(String));
    return new TracerError('bad_request', message, { where, remedy });
  }
  const rule = first?.keyword === 'pattern' ? undefined : first?.message;
  const remedy = [rule, properties[key]?.description].filter((text) => text !== undefined).join('; ');
  return new TracerError('bad_request', message, { where, remedy });
}
