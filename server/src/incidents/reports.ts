import { type BlindTo, INCIDENT_KINDS, type Incident, type IncidentKind } from '../contract/incidents.ts';
import type { Collection } from '../model/collection.ts';
import type { Violation } from '../protocol/codes.ts';
import type { IncidentEngine } from './engine.ts';
import { INCIDENT_RULES } from './rules/index.ts';
import type { IncidentState } from './store.ts';
import { bySeverity, incidentLabels, incidentView } from './view.ts';

export interface ReportsOptions {
  engine: IncidentEngine;
  collection: Collection;
  /** Converts microseconds since boot to ISO 8601. */
  time: (micros: number) => string;
}

/** The incidents as API and metrics show them, and which kinds can be detected. */
export class IncidentReports {
  readonly #options: ReportsOptions;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** Whether a kernel traced since the start can have incidents of this kind. */
  canOccur(kind: IncidentKind): boolean {
    const { dialects } = INCIDENT_RULES[kind];
    return dialects === undefined || this.#options.collection.hadDialect(dialects);
  }

  /** Whether incidents of this kind can occur, and all probes that detect them were attached since the start. */
  isDetected(kind: IncidentKind): boolean {
    const { collection } = this.#options;
    return this.canOccur(kind) && INCIDENT_RULES[kind].probes.every((probe) => collection.wasAttached(probe));
  }

  /** The security-relevant kinds that this kernel can have and that cannot be detected now, with the missing probes. */
  blindTo(): BlindTo[] {
    const { dialect } = this.#options.collection;
    const attached = this.#options.collection.attached();
    return INCIDENT_KINDS.flatMap((kind) => {
      const { probes, dialects, securityRelevant } = INCIDENT_RULES[kind];
      const missing = probes.filter((probe) => !attached.has(probe));
      const isPossible = dialects?.includes(dialect) ?? true;
      return securityRelevant === true && isPossible && missing.length > 0 ? [{ kind, probes: missing }] : [];
    });
  }

  /**
   * Whether this policy violation is counted. Offers are counted only in a dialect in which an export declares its
   * privacy.
   */
  countsViolation(kind: Violation): boolean {
    if (kind === 'none') return false;
    if (kind === 'private_offered' && !this.#options.collection.hadDialect(['private-v1'])) return false;
    return this.isDetected(kind);
  }

  /** Numbers of incidents: open now, ever opened, and not opened because of the limit. */
  counts(kind: IncidentKind): { open: number; opened: number; folded: number } {
    const { store } = this.#options.engine;
    return { open: store.count(kind), opened: store.opened[kind], folded: store.folded[kind] };
  }

  /** The number of open incidents of each kind that is detected. */
  openByKind(): Record<string, number> {
    const detected = INCIDENT_KINDS.filter((kind) => this.isDetected(kind));
    return Object.fromEntries(detected.map((kind) => [kind, this.counts(kind).open]));
  }

  /** The labels of the open incidents. */
  openLabels(): Pick<Incident, 'device' | 'kind' | 'severity'>[] {
    return this.#options.engine.store.allOpen().map(incidentLabels);
  }

  /** Open incidents first, by severity and then newest first; then the closed ones that are kept, newest first. */
  all(): Incident[] {
    const { store } = this.#options.engine;
    const open = store.allOpen().reverse().sort(bySeverity);
    return [...open, ...store.past().toReversed()].map((one) => this.#view(one));
  }

  /** The incidents that have opened or closed since the last call. `at`: when, in microseconds since boot. */
  takeChanges(): { at: number; change: 'opened' | 'closed'; incident: Incident }[] {
    return this.#options.engine.store.takeChanges().map(({ change, incident }) => ({
      at: change === 'opened' ? incident.openedAt : (incident.closedAt ?? 0),
      change,
      incident: this.#view(incident),
    }));
  }

  #view(incident: IncidentState): Incident {
    const { engine, collection, time } = this.#options;
    return incidentView(incident, {
      time,
      isExact: (one) => engine.isExact(one),
      participants: (one) => engine.participants(one),
      tracesUnmaps: collection.wasAttached('unmap'),
    });
  }
}
