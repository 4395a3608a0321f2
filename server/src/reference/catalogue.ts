import { INCIDENT_KINDS, type IncidentKind } from '../contract/incidents.ts';
import { TOPICS, type Topic } from '../contract/reasons.ts';
import { INCIDENT_RULES } from '../incidents/rules/index.ts';
import { PRIVATE_BUFFER_REMEDY } from '../incidents/rules/private-offered.ts';
import type { Reason } from '../protocol/codes.ts';
import { ADDRESS_REASONS } from './address-reasons.ts';
import { CAUSE_ENTRIES } from './causes.ts';
import { COMMON_REASONS } from './common-reasons.ts';
import { type CallStage, type Entry, STAGES_OF_OTHER_IMPORTERS } from './entry.ts';
import { EXPORT_REASONS } from './export-reasons.ts';
import { IMPORT_REASONS } from './import-reasons.ts';
import { PRIVATE_REASONS } from './private-reasons.ts';
import { VIOLATION_ENTRIES } from './violations.ts';

/** The compiler reports a reason without an entry. */
export const REASON_ENTRIES: Record<Exclude<Reason, 'none'>, Entry> = {
  ...IMPORT_REASONS,
  ...ADDRESS_REASONS,
  ...PRIVATE_REASONS,
  ...EXPORT_REASONS,
  ...COMMON_REASONS,
};

/** Reasons that no probe of this version prints, although the stream has a number for them. */
export const UNPRINTED: readonly Reason[] = [];

/** One entry as the CLI, the API and the docs show it. */
export interface Explanation extends Entry {
  user_space: readonly string[];
  name: string;
  topic: Topic;
  /** The stages at which it can occur, without duplicates. */
  stages: CallStage[];
  /** The remedy if the buffer is private and the importer is not KVM; null if that cannot happen. */
  private_remedy: string | null;
  /** False if no probe of this version prints it. */
  printed: boolean;
  /** Path and anchor of its section in the docs, for the annotation of an alert. */
  docs: string;
}

const PAGE = 'docs/reasons.md';

/** Entries of the kinds of incident, except those that a violation of the same name explains. */
function incidentEntries(): Record<string, Entry> {
  return Object.fromEntries(
    INCIDENT_KINDS.filter((kind) => !(kind in VIOLATION_ENTRIES)).map((kind) => {
      const { opens, closes, remedy } = INCIDENT_RULES[kind];
      return [kind, { what: `Opens: ${opens}. Closes: ${closes}.`, rules: [], remedy }];
    }),
  );
}

const BY_TOPIC: Record<Topic, Readonly<Record<string, Entry>>> = {
  reason: REASON_ENTRIES,
  violation: VIOLATION_ENTRIES,
  cause: CAUSE_ENTRIES,
  incident: incidentEntries(),
};

/** Every entry, by topic and in the order of the catalogue; names are unique over all topics. */
export const EXPLANATIONS: readonly Explanation[] = TOPICS.flatMap((topic) =>
  Object.entries(BY_TOPIC[topic]).map(([name, entry]) => ({
    name,
    topic,
    ...entry,
    user_space: entry.user_space ?? [],
    stages: [...new Set(entry.rules.map(({ stage }) => stage))],
    private_remedy:
      topic === 'reason' && entry.rules.some(({ stage }) => STAGES_OF_OTHER_IMPORTERS.has(stage))
        ? PRIVATE_BUFFER_REMEDY
        : null,
    printed: !(UNPRINTED as readonly string[]).includes(name),
    docs:
      topic === 'incident'
        ? `docs/runbooks/${INCIDENT_RULES[name as IncidentKind].runbook}.md`
        : `${PAGE}#${name}`,
  })),
);

export const EXPLAINED_NAMES: readonly string[] = EXPLANATIONS.map(({ name }) => name);

export function explain(name: string): Explanation | undefined {
  return EXPLANATIONS.find((entry) => entry.name === name);
}
