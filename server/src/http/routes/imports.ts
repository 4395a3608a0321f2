import { type Static, Type } from 'typebox';
import { ImportsAnswer } from '../../contract/answers.ts';
import { canonicalDevice } from '../../lib/device-address.ts';
import { deviceAddress } from '../../model/naming.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { DeviceQuery, ImporterQuery } from './query.ts';

const ImportsQuery = Type.Object(
  {
    device: Type.Optional(DeviceQuery),
    importer: Type.Optional(ImporterQuery),
    limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: '1 to 10000' }),
  },
  { additionalProperties: false },
);

/** The current attachments. */
export const importsRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/imports',
    {
      schema: {
        tags: ['state'],
        summary: 'the importers that have a buffer attached now',
        querystring: ImportsQuery,
        response: { 200: ImportsAnswer, ...errorResponses },
      },
    },
    (request) => {
      const { importer, limit } = request.query;
      const address = request.query.device === undefined ? undefined : canonicalDevice(request.query.device);
      const imports: Static<typeof ImportsAnswer>['imports'] = [];
      const isWanted = (name: string): boolean => importer === undefined || name === importer;
      let total = 0;
      let unnamed = 0;
      // Build a view only for the imports that are returned: there may be many more.
      for (const state of options.model.aliveStates()) {
        if (address !== undefined && deviceAddress(state.device) !== address) continue;
        unnamed += Math.max(0, state.attachments.count - state.importers.named);
        let wanted = 0;
        for (const { importer: name } of state.importers.attached()) if (isWanted(name)) wanted += 1;
        total += wanted;
        const buffer = wanted > 0 && imports.length < limit ? options.model.buffer(state.inode) : undefined;
        if (buffer === undefined) continue;
        const { device, region, inode, privacy, vm, attachments } = buffer;
        const stateNow = state.revoked ? 'revoked' : 'live';
        for (const attachment of attachments) {
          if (isWanted(attachment.importer) && imports.length < limit)
            imports.push({ ...attachment, device, region, inode, state: stateNow, privacy, vm });
        }
      }
      return { total, unnamed, imports };
    },
  );
  done();
};
