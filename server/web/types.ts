import type { Static } from 'typebox';
import type { BuffersAnswer } from '../src/http/routes/buffers.ts';
import type { EventsAnswer } from '../src/http/routes/events.ts';
import type { HistoryAnswer } from '../src/http/routes/history.ts';
import type { IncidentsAnswer } from '../src/http/routes/incidents.ts';
import type { ReasonView } from '../src/http/routes/reasons.ts';
import type { RejectionsAnswer } from '../src/http/routes/rejections.ts';
import type { StatusAnswer } from '../src/http/routes/status.ts';

export type { BufferView, Incident, TracerEvent, VmRef } from '../src/contract/schema.ts';
/** The answers of the API, from the schemas that the routes use. */
export type { HistorySample } from '../src/model/history.ts';
export type { Topology, TopologyEdge, TopologyNode } from '../src/model/topology.ts';
export type { Privacy } from '../src/protocol/codes.ts';
export type Buffers = Static<typeof BuffersAnswer>;
export type Events = Static<typeof EventsAnswer>;
export type History = Static<typeof HistoryAnswer>;
export type Incidents = Static<typeof IncidentsAnswer>;
export type Reason = Static<typeof ReasonView>;
export type Rejections = Static<typeof RejectionsAnswer>;
export type Status = Static<typeof StatusAnswer>;
