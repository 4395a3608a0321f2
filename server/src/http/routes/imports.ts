import { Type } from 'typebox';
import { Attachment, BufferView } from '../../model/schema.ts';
import type { AppPlugin } from '../app.ts';
import { errorResponses } from '../error.ts';
import { canonicalDevice, DeviceQuery, ImporterQuery } from './query.ts';

export const ImportsQuery = Type.Object(
  {
    device: Type.Optional(DeviceQuery),
    importer: Type.Optional(ImporterQuery),
    limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: '1 to 10000' }),
  },
  { additionalProperties: false },
);

const { device, inode, region, privacy, vm } = BufferView.properties;

export const ImportView = Type.Object({
  ...Attachment.properties,
  device,
  region,
  inode,
  state: Type.Enum(['live', 'revoked']),
  privacy,
  vm,
});

export const ImportsAnswer = Type.Object({
  total: Type.Integer({ description: 'imports that match, also those beyond the limit' }),
  unnamed: Type.Integer({
    description: 'attachments of the device that only a snapshot has counted: it does not say whose they are',
  }),
  imports: Type.Array(ImportView),
});

/** Who has attached what now. */
export const importsRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/imports',
    {
      schema: {
        tags: ['state'],
        summary: 'who has attached what now',
        querystring: ImportsQuery,
        response: { 200: ImportsAnswer, ...errorResponses },
      },
    },
    (request) => {
      const { importer, limit } = request.query;
      const address = request.query.device === undefined ? undefined : canonicalDevice(request.query.device);
      const imports = [];
      let unnamed = 0;
      for (const buffer of options.model.buffers()) {
        const { state, attachments } = buffer;
        if (state === 'released' || (address !== undefined && buffer.device !== address)) continue;
        unnamed += Math.max(
          0,
          buffer.attachment_count - attachments.reduce((sum, { count }) => sum + count, 0),
        );
        const { device, region, inode, privacy, vm } = buffer;
        for (const attachment of attachments) {
          if (importer !== undefined && attachment.importer !== importer) continue;
          imports.push({ ...attachment, device, region, inode, state, privacy, vm });
        }
      }
      return { total: imports.length, unnamed, imports: imports.slice(0, limit) };
    },
  );
  done();
};
