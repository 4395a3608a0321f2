import { type Declaration, field } from '../../server/src/protocol/declaration.ts';
import { readInteger, readUnsigned } from '../../server/src/protocol/readers.ts';
import { t } from './fields.ts';

/** What the composer's own blocks print: `BEGIN` and `interval:s:1`. */
export const composer = {
  records: [
    {
      name: 'ready',
      tag: 0,
      event: false,
      fields: { t },
      note: 'of the one-shot program too: when it began',
    },
    {
      name: 'heartbeat',
      tag: 1,
      event: false,
      fields: {
        t,
        emitted: field(readInteger, 'Number of events that the probes of this child have printed.'),
      },
    },
    { name: 'counter', tag: 13, event: false, fields: null, note: 'map, key, value; no t' },
    {
      name: 'read_end',
      tag: 14,
      event: false,
      fields: { t, lines: field(readInteger, 'Number of counter lines that this child has printed.') },
    },
    // The scheduler clock exceeds 2^53 ns after 104 days, and by far if a gate has no limit.
    {
      name: 'gate',
      tag: 16,
      event: false,
      fields: {
        t,
        clock: field(readUnsigned, 'When the task that prints last came onto its processor.', 'ns'),
        from: field(readUnsigned, 'The program counts tasks that arrived from then on.', 'ns'),
        until: field(readUnsigned, 'The program counts tasks that arrived before then.', 'ns'),
      },
      note: 'only during a handover; not in the stream',
    },
    {
      name: 'in_flight',
      tag: 17,
      event: false,
      fields: { t },
      note: 'only during a handover; not in the stream',
    },
  ],
  maps: [
    {
      name: 'emitted',
      number: 19,
      key: [],
      holds: 'count',
      of: 'events; printed by the heartbeat, not as a counter',
      // The heartbeat has it in order with the events.
      feeds: null,
    },
  ],
} as const satisfies Declaration;
