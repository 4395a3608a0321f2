import { type BlindTo, INCIDENT_KINDS } from '../contract/incidents.ts';
import type { Dialect } from '../protocol/wire.ts';
import { INCIDENT_RULES } from './rules/index.ts';

/** The security-relevant kinds that can occur in this dialect but cannot be detected, with their missing probes. */
export function blindTo(dialect: Dialect, attached: ReadonlySet<string>): BlindTo[] {
  return INCIDENT_KINDS.flatMap((kind) => {
    const { probes, dialects, securityRelevant } = INCIDENT_RULES[kind];
    const missing = probes.filter((probe) => !attached.has(probe));
    const isPossible = dialects?.includes(dialect) ?? true;
    return securityRelevant === true && isPossible && missing.length > 0 ? [{ kind, probes: missing }] : [];
  });
}
