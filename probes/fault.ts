import type { Declaration } from '../server/src/protocol/declaration.ts';
import { importCounts, importEvent } from './shared/importing.ts';
import { missedReturns } from './shared/missed-returns.ts';

export const fault = {
  probe: 'fault',
  uses: [importEvent, importCounts, missedReturns],
} as const satisfies Declaration;
