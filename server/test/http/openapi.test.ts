import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { FastifyInstance } from 'fastify';
import { RecordingSource } from '../../src/protocol/recording.ts';
import { build } from './build.ts';

const RECORDINGS = fileURLToPath(new URL('../../../recordings', import.meta.url));

interface Parameter {
  in: string;
  name: string;
  required: boolean;
  schema: { default?: unknown };
}
interface Operation {
  tags: string[];
  summary: string;
  parameters?: Parameter[];
  responses: Record<string, { description: string; content: Record<string, { schema: object }> }>;
}
interface Document {
  openapi: string;
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
}

async function documentOf(app: FastifyInstance): Promise<Document> {
  const answer = await app.inject('/openapi.json');
  assert.equal(answer.statusCode, 200);
  return answer.json();
}

/** Routes that only the page uses are not part of the API. */
function isOfThePage(url: string) {
  return !/^\/(api|-|metrics|runbooks|docs|openapi\.json)(\/|$)/.test(url);
}

interface Route {
  method: string;
  url: string;
  parameters: string[];
}

test('the document lists exactly the routes of the API, with their parameters', async (t) => {
  const routes: Route[] = [];
  const { app } = await build(t, {
    onRoute: ({ method, url, schema }) => {
      const names = (part: unknown) => Object.keys((part as { properties?: object })?.properties ?? {});
      for (const one of [method].flat()) {
        // Fastify adds HEAD to each GET route.
        if (one === 'HEAD') continue;
        const query = names(schema?.querystring).map((name) => `query ${name}`);
        const params = names(schema?.params).map((name) => `path ${name}`);
        const headers = names(schema?.headers).map((name) => `header ${name}`);
        routes.push({ method: one, url, parameters: [...query, ...params, ...headers].sort() });
      }
    },
  });
  const { paths } = await documentOf(app);
  const documented = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { parameters = [] }]) => ({
      method: method.toUpperCase(),
      url: path.replaceAll(/\{(\w+)\}/g, ':$1'),
      parameters: parameters.map((one) => `${one.in} ${one.name}`).sort(),
    })),
  );
  const byUrl = (a: Route, b: Route) => (a.url < b.url ? -1 : 1);
  const ofTheApi = routes.filter(({ url }) => !isOfThePage(url));
  assert.ok(ofTheApi.length >= 15, JSON.stringify(ofTheApi));
  assert.deepEqual(documented.sort(byUrl), ofTheApi.sort(byUrl));
});

test('the document is valid OpenAPI 3.1, and each answer in it has a description', async (t) => {
  const { app } = await build(t);
  const document = await documentOf(app);
  assert.equal(document.openapi, '3.1.0');
  const result = await new Validator().validate(
    structuredClone(document) as object as Record<string, unknown>,
  );
  assert.ok(result.valid, JSON.stringify(result.errors));
  const known = document.tags.map(({ name }) => name);
  for (const [path, operations] of Object.entries(document.paths)) {
    const [operation, ...others] = Object.values(operations);
    assert.ok(operation !== undefined && others.length === 0 && operation.summary !== '', path);
    assert.deepEqual(
      operation.tags.filter((tag) => !known.includes(tag)),
      [],
      path,
    );
    for (const [code, { description }] of Object.entries(operation.responses)) {
      assert.notEqual(description, 'Default Response', `${path} ${code}`);
    }
    assert.ok('4XX' in operation.responses && '5XX' in operation.responses, path);
    for (const { name, required, schema } of operation.parameters ?? []) {
      assert.ok(!required || schema.default === undefined, `${path} ${name}`);
    }
  }
  const types = (path: string) => Object.keys(document.paths[path]?.get?.responses['200']?.content ?? {});
  assert.deepEqual(types('/api/v1/stream'), ['text/event-stream']);
  assert.deepEqual(types('/-/ready'), ['text/plain']);
  assert.match(
    types('/metrics').join(),
    /^text\/plain; version=0\.0\.4.*application\/openmetrics-text; version=1/,
  );
});

test('the answers for every recording, and the errors, match the schemas of the document', async (t) => {
  const ajv = new Ajv2020({ strict: false });
  const compiled = new Map<object, ReturnType<typeof ajv.compile>>();
  const check = (schema: object, value: unknown, what: string) => {
    const validate = compiled.get(schema) ?? ajv.compile(schema);
    compiled.set(schema, validate);
    assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)}`);
  };
  const document = await documentOf((await build(t)).app);
  const answerOf = (path: string, code: string) => {
    const schema = document.paths[path]?.get?.responses[code]?.content['application/json']?.schema;
    return schema ?? assert.fail(`${path} ${code}`);
  };
  const json = Object.entries(document.paths)
    .filter(([, { get }]) => get?.responses['200']?.content['application/json'] !== undefined)
    .map(([path]) => path);
  const recordings = readdirSync(RECORDINGS).filter((name) => /\.ndjson(\.gz)?$/.test(name));
  assert.ok(json.length >= 10 && recordings.length >= 40);
  for (const name of recordings) {
    const source = new RecordingSource({ path: `${RECORDINGS}/${name}` });
    const { app } = await build(t, { source, keep: 10_000 });
    for (const path of json) {
      const url = path.replace('{name}', 'revoked');
      const query = document.paths[path]?.get?.parameters?.some((one) => one.name === 'limit');
      const answer = await app.inject(query ? `${url}?limit=1000` : url);
      assert.equal(answer.statusCode, 200, url);
      check(answerOf(path, '200'), answer.json(), `${name} ${url}`);
    }
    await app.close();
  }
  const { app } = await build(t);
  for (const path of json) {
    const answer = await app.inject(`${path.replace('{name}', 'revoked')}?wrong=1`);
    assert.equal(answer.statusCode, 400, path);
    check(answerOf(path, '4XX'), answer.json(), path);
  }
  // The same check must reject a wrong answer.
  assert.throws(() => check(answerOf('/api/v1/status', '200'), { version: 1 }, 'status'), /must/);
});
