import type { Declaration } from '../server/src/protocol/declaration.ts';
import { importCounts, importEvent } from './shared/importing.ts';
import { missedReturns } from './shared/missed-returns.ts';
import { policyViolations } from './shared/policy-violations.ts';

export const coreAttach = {
  probe: 'core_attach',
  uses: [importEvent, importCounts, policyViolations, missedReturns],
} as const satisfies Declaration;
