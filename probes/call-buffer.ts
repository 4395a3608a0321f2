import type { Declaration } from '../server/src/protocol/declaration.ts';

/** It prints and counts nothing: it keeps the buffer of an importer's call for the probe of that call. */
export const callBuffer = { probe: 'call_buffer' } as const satisfies Declaration;
