import type { Declaration } from '../../server/src/protocol/declaration.ts';

/** For probes that count a call at its return. */
export const missedReturns = {
  maps: [
    {
      name: 'missed',
      number: 18,
      key: [],
      holds: 'count',
      of: 'calls whose return was missed',
      feeds: {
        name: 'missed_returns',
        type: 'counter',
        help: 'Calls of traced functions whose return was not traced.',
        details:
          'All instances of the return probe were in use. The next call of the same task reveals it. ' +
          'Such a call is in no other counter and made no event.',
        labels: [],
      },
    },
  ],
} as const satisfies Declaration;
