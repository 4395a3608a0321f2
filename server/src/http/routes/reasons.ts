import { type Static, Type } from 'typebox';
import { TracerError } from '../../lib/errors.ts';
import { didYouMean } from '../../lib/suggest.ts';
import {
  EXPLAINED_NAMES,
  EXPLANATIONS,
  type Explanation,
  explain,
  TOPICS,
} from '../../reference/catalogue.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery } from './query.ts';

export const REASONS_PATH = '/api/v1/reasons';

export const ReasonView = Type.Object({
  name: Type.String({ description: 'the name as in events and metrics' }),
  topic: Type.Enum([...TOPICS]),
  what: Type.String({ description: 'what happened' }),
  rules: Type.Array(
    Type.Object({
      stage: Type.String({ description: 'export, private_read, revoke, or the stage of an import' }),
      errno: Type.Union([Type.String(), Type.Null()]),
      function: Type.String(),
      file: Type.String(),
      kernels: Type.String({
        description: 'the kernels that have this rule, by their capabilities or private dialects',
      }),
      mainline: Type.Union([Type.String(), Type.Null()], {
        description:
          'the mainline versions that have it; only a hint, because distributions differ; null if none has it',
      }),
      check: Type.String(),
    }),
  ),
  remedy: Type.String({ description: 'what to do' }),
  private_remedy: Type.Union([Type.String(), Type.Null()], {
    description:
      'what to do instead if the buffer is private and the importer is not KVM; null if that cannot be',
  }),
  user_space: Type.Array(Type.String(), {
    description: 'how it appears in user space: log lines, functions that fail, settings that cause it',
  }),
  stages: Type.Array(Type.String(), { description: 'the stages at which it can occur' }),
  printed: Type.Boolean({ description: 'false: no probe of this version reports it' }),
  docs: Type.String({ description: 'its section in the docs of this version' }),
});

function viewOf(entry: Explanation): Static<typeof ReasonView> {
  return {
    ...entry,
    user_space: [...entry.user_space],
  };
}

export const reasonsRoute: AppPlugin = (app, _options, done) => {
  app.get(
    REASONS_PATH,
    {
      schema: {
        tags: ['reasons'],
        summary: 'what reasons, policy violations, causes and kinds of incidents mean',
        querystring: NoQuery,
        response: { 200: Type.Object({ reasons: Type.Array(ReasonView) }), ...errorResponses },
      },
    },
    () => ({ reasons: EXPLANATIONS.map(viewOf) }),
  );
  app.get(
    `${REASONS_PATH}/:name`,
    {
      schema: {
        tags: ['reasons'],
        summary: 'what one name means',
        params: Type.Object({ name: Type.String() }),
        querystring: NoQuery,
        response: { 200: ReasonView, ...errorResponses },
      },
    },
    ({ params: { name } }) => {
      const found = explain(name);
      if (found !== undefined) return viewOf(found);
      throw new TracerError('not_found', `there is no reason ${JSON.stringify(name)}`, {
        where: REASONS_PATH,
        remedy: didYouMean(name, EXPLAINED_NAMES, `${REASONS_PATH} lists all names`),
      });
    },
  );
  done();
};
