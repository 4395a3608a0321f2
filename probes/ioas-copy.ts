import type { Declaration } from '../server/src/protocol/declaration.ts';
import { importCounts, importEvent } from './shared/importing.ts';
import { missedReturns } from './shared/missed-returns.ts';

export const ioasCopy = {
  probe: 'ioas_copy',
  uses: [importEvent, importCounts, missedReturns],
} as const satisfies Declaration;
