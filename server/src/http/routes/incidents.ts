import { Type } from 'typebox';
import { IncidentsAnswer } from '../../contract/answers.ts';
import { INCIDENT_KINDS, type IncidentKind } from '../../contract/incidents.ts';
import type { IncidentRule } from '../../incidents/rule.ts';
import { INCIDENT_RULES } from '../../incidents/rules/index.ts';
import { canonicalDevice } from '../../lib/device-address.ts';
import { errorResponses } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { DeviceQuery } from './query.ts';

const IncidentsQuery = Type.Object(
  {
    kind: Type.Optional(Type.Enum([...INCIDENT_KINDS])),
    state: Type.Optional(Type.Enum(['open', 'closed'])),
    device: Type.Optional(DeviceQuery),
    limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 1000, description: '1 to 10000' }),
  },
  { additionalProperties: false },
);

export const incidentsRoute: AppPlugin = (app, options, done) => {
  const { model } = options;
  app.get(
    '/api/v1/incidents',
    {
      schema: {
        tags: ['events'],
        summary: 'open and closed incidents, open and critical ones first',
        querystring: IncidentsQuery,
        response: { 200: IncidentsAnswer, ...errorResponses },
      },
    },
    (request) => {
      const { kind, state, device, limit } = request.query;
      const address = device === undefined ? undefined : canonicalDevice(device);
      const matching = model.incidents
        .all()
        .filter(
          (incident) =>
            (kind === undefined || incident.kind === kind) &&
            (state === undefined || incident.state === state) &&
            (address === undefined || incident.device === address),
        );
      const shown = matching.slice(0, limit);
      const kinds = INCIDENT_KINDS.filter((one) => shown.some((incident) => incident.kind === one));
      return {
        total: matching.length,
        open: matching.filter((incident) => incident.state === 'open').length,
        not_detected: INCIDENT_KINDS.filter(
          (one) => model.incidents.canOccur(one) && !model.incidents.isDetected(one),
        ),
        not_applicable: INCIDENT_KINDS.filter((one) => !model.incidents.canOccur(one)),
        blind_to: model.incidents.blindTo(),
        folded: INCIDENT_KINDS.reduce((sum, one) => sum + model.incidents.counts(one).folded, 0),
        incidents: shown,
        kinds: Object.fromEntries(kinds.map((one) => [one, meaningOf(one)])),
      };
    },
  );
  done();
};

function meaningOf(kind: IncidentKind): Pick<IncidentRule, 'opens' | 'closes' | 'remedy' | 'runbook'> {
  const { opens, closes, remedy, runbook } = INCIDENT_RULES[kind];
  return { opens, closes, remedy, runbook };
}
