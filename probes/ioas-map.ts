import type { Declaration } from '../server/src/protocol/declaration.ts';
import { importCounts, importEvent } from './shared/importing.ts';
import { missedReturns } from './shared/missed-returns.ts';

export const ioasMap = {
  probe: 'ioas_map',
  uses: [importEvent, importCounts, missedReturns],
} as const satisfies Declaration;
