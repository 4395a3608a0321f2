import { Type } from 'typebox';
import { BuffersAnswer } from '../../contract/answers.ts';
import { canonicalDevice } from '../../lib/device-address.ts';
import { PRIVACIES } from '../../protocol/codes.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { DeviceQuery } from './query.ts';

const BuffersQuery = Type.Object(
  {
    device: Type.Optional(DeviceQuery),
    state: Type.Optional(Type.Enum(['live', 'revoked', 'released'])),
    privacy: Type.Optional(Type.Enum([...PRIVACIES])),
    limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: '1 to 10000' }),
  },
  { additionalProperties: false },
);

export const buffersRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/buffers',
    {
      schema: {
        tags: ['state'],
        summary: 'live, revoked and recently released buffers',
        querystring: BuffersQuery,
        response: { 200: BuffersAnswer, ...errorResponses },
      },
    },
    (request) => {
      const { device, limit, ...filter } = request.query;
      const address = device === undefined ? {} : { device: canonicalDevice(device) };
      return options.model.findBuffers({ ...filter, ...address }, limit);
    },
  );
  done();
};
