import type { Declaration } from '../server/src/protocol/declaration.ts';
import { bindEvent } from './bind.ts';
import { importCounts } from './shared/importing.ts';
import { missedReturns } from './shared/missed-returns.ts';

export const slot = {
  probe: 'slot',
  uses: [bindEvent, importCounts, missedReturns],
} as const satisfies Declaration;
