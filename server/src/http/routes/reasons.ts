import { type Static, Type } from 'typebox';
import { ReasonView } from '../../contract/reasons.ts';
import { TracerError } from '../../lib/errors.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { EXPLAINED_NAMES, EXPLANATIONS, type Explanation, explain } from '../../reference/catalogue.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery } from './query.ts';

export const REASONS_PATH = '/api/v1/reasons';

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
