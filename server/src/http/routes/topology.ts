import { Type } from 'typebox';
import { Topology } from '../../contract/topology.ts';
import { canonicalDevice } from '../../lib/device-address.ts';
import { topologyOf } from '../../model/topology.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { DeviceQuery } from './query.ts';

const TopologyQuery = Type.Object(
  {
    device: Type.Optional(DeviceQuery),
    limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: 'buffers, 1 to 10000' }),
  },
  { additionalProperties: false },
);

/** The current memory sharing, as a graph. */
export const topologyRoute: AppPlugin = (app, options, done) => {
  app.get(
    '/api/v1/topology',
    {
      schema: {
        tags: ['state'],
        summary: 'VMs, devices, buffers and importers as a graph',
        querystring: TopologyQuery,
        response: { 200: Topology, ...errorResponses },
      },
    },
    (request) => {
      const { model } = options;
      const { limit } = request.query;
      const device = request.query.device === undefined ? undefined : canonicalDevice(request.query.device);
      return {
        ...topologyOf(model.aliveStates(), limit, device),
        idle_devices: model
          .idleDevices()
          .filter((one) => device === undefined || one.device === device)
          .slice(0, limit),
      };
    },
  );
  done();
};
