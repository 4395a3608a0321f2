export type { BufferView } from '../../src/contract/buffers.ts';
export type { TracerEvent } from '../../src/contract/events.ts';
export type { VmRef } from '../../src/contract/fields.ts';
export type { Incident } from '../../src/contract/incidents.ts';

import type { Static } from 'typebox';
import type {
  BuffersAnswer,
  EventsAnswer,
  HistoryAnswer,
  IncidentsAnswer,
  RejectionsAnswer,
  StatusAnswer,
} from '../../src/contract/answers.ts';
import type { ReasonView } from '../../src/contract/reasons.ts';

export type { HistorySample } from '../../src/contract/history.ts';
export type { Sharing, Topology, TopologyEdge, TopologyNode } from '../../src/contract/topology.ts';
export type { Privacy } from '../../src/protocol/codes.ts';

/** The answers of the API, from the schemas that the routes use. */
export type Buffers = Static<typeof BuffersAnswer>;
export type Events = Static<typeof EventsAnswer>;
export type History = Static<typeof HistoryAnswer>;
export type Incidents = Static<typeof IncidentsAnswer>;
export type Reason = Static<typeof ReasonView>;
export type Rejections = Static<typeof RejectionsAnswer>;
export type Status = Static<typeof StatusAnswer>;
