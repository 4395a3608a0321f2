import swagger, { type SwaggerTransformObject } from '@fastify/swagger';
import { Type } from 'typebox';
import { errorResponses } from '../error.ts';
import type { App, AppPlugin } from '../plugin.ts';
import { NoQuery } from './query.ts';

const TAGS = [
  { name: 'metrics', description: 'metrics for Prometheus' },
  { name: 'state', description: 'current buffers, imports and their relations' },
  { name: 'events', description: 'events and incidents' },
  { name: 'reasons', description: 'explanations of the names in events and metrics' },
  { name: 'tracer', description: 'state of the tracer, and how complete its data is' },
];

/**
 * Collects the schemas of the routes that are registered later. Routes without a tag belong to the page and are left
 * out.
 */
export function collectSchemas(app: App, version: string): void {
  void app.register(swagger, {
    hideUntagged: true,
    transformObject: finish,
    convertConstToEnum: false,
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'vfio-dmabuf-tracer',
        description:
          'Which VFIO device exports its memory as a dma-buf to whom, which import was rejected, and why.',
        license: { name: 'MIT', identifier: 'MIT' },
        version,
      },
      tags: TAGS,
    },
  });
}

interface Operation {
  summary?: string;
  parameters?: { required?: boolean; schema?: { default?: unknown } }[];
  responses?: Record<string, { description: string }>;
}

/**
 * Adds what the generator does not know: a parameter with a default is optional, and the summary describes a success.
 */
const finish: SwaggerTransformObject = (document) => {
  if (!('openapiObject' in document)) return document.swaggerObject;
  for (const path of Object.values(document.openapiObject.paths ?? {})) {
    const operation = (path?.get ?? path?.post) as Operation | undefined;
    for (const parameter of operation?.parameters ?? []) {
      if (parameter.schema?.default !== undefined) parameter.required = false;
    }
    const success = operation?.responses?.['200'];
    if (success?.description === 'Default Response') success.description = operation?.summary ?? '';
  }
  return document.openapiObject;
};

/** The description of this API, generated from the schemas of the routes. */
export const openapiRoute: AppPlugin = (app, _options, done) => {
  app.get(
    '/openapi.json',
    {
      schema: {
        tags: ['tracer'],
        summary: 'this document',
        querystring: NoQuery,
        response: {
          200: Type.Object({ openapi: Type.String() }, { additionalProperties: true }),
          ...errorResponses,
        },
      },
    },
    () => app.swagger() as { openapi: string },
  );
  done();
};
