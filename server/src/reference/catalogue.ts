import type { IncidentKind } from '../model/schema.ts';
import type { Reason } from '../stream/codes.ts';
import { CAUSE_ENTRIES } from './causes.ts';
import { COMMON_REASONS } from './common-reasons.ts';
import { type CallStage, type Entry, PRIVATE_BUFFER_REMEDY, STAGES_OF_OTHER_IMPORTERS } from './entry.ts';
import { EXPORT_REASONS } from './export-reasons.ts';
import { IMPORT_REASONS } from './import-reasons.ts';
import { INCIDENT_ENTRIES } from './incidents.ts';
import { PRIVATE_REASONS } from './private-reasons.ts';
import { SYMPTOM_ENTRIES } from './symptoms.ts';
import { VIOLATION_ENTRIES } from './violations.ts';

/** A reason without an entry does not compile. */
export const REASON_ENTRIES: Record<Exclude<Reason, 'none'>, Entry> = {
  ...IMPORT_REASONS,
  ...PRIVATE_REASONS,
  ...EXPORT_REASONS,
  ...COMMON_REASONS,
};

/** Reasons that no probe prints: they have a number on the wire, and are told as what they are. */
export const UNPRINTED: readonly Reason[] = [];

/** What a name is one of; also the label under which metrics have it. A symptom is in no metric: no probe sees it. */
export const TOPICS = ['reason', 'violation', 'cause', 'incident', 'symptom'] as const;
export type Topic = (typeof TOPICS)[number];

/** One entry as the CLI, the API and the docs tell it. */
export interface Explanation extends Entry {
  user_space: readonly string[];
  name: string;
  topic: Topic;
  /** Where it can occur, each once. */
  stages: CallStage[];
  /** The remedy if the buffer is private and the importer is not KVM; null if that cannot be. */
  private_remedy: string | null;
  /** False where no probe of this version prints it. */
  printed: boolean;
  /** Its paragraph in the docs, for the annotation of an alert. */
  docs: string;
}

const PAGE = 'docs/reasons.md';

/** The kinds of incidents that no violation of the same name explains. */
function incidentEntries(): Record<string, Entry> {
  return Object.fromEntries(
    Object.entries(INCIDENT_ENTRIES)
      .filter(([kind]) => !(kind in VIOLATION_ENTRIES))
      .map(([kind, { opens, closes, remedy }]) => [
        kind,
        {
          what: `An incident. It opens: ${opens}. It closes: ${closes}.`,
          rules: [],
          remedy: `${capital(remedy)}.`,
        },
      ]),
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const BY_TOPIC: Record<Topic, Readonly<Record<string, Entry>>> = {
  reason: REASON_ENTRIES,
  violation: VIOLATION_ENTRIES,
  cause: CAUSE_ENTRIES,
  incident: incidentEntries(),
  symptom: SYMPTOM_ENTRIES,
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
    printed: topic !== 'symptom' && !(UNPRINTED as readonly string[]).includes(name),
    docs:
      topic === 'incident'
        ? `docs/runbooks/${INCIDENT_ENTRIES[name as IncidentKind].runbook}.md`
        : `${PAGE}#${name}`,
  })),
);

export const EXPLAINED_NAMES: readonly string[] = EXPLANATIONS.map(({ name }) => name);

export function explain(name: string): Explanation | undefined {
  return EXPLANATIONS.find((entry) => entry.name === name);
}

/** Shorter texts are in nearly every entry. */
const SHORTEST = 4;

/**
 * The entries that a text leads to: a line from the log of a VMM, a function that failed, a setting, a function of the kernel. The text
 * may contain more than what the catalogue knows (a line with its time), or less.
 */
export function findExplanations(text: string): Explanation[] {
  const asked = wordsOf(text);
  if (asked.trim().length < SHORTEST) return [];
  return EXPLANATIONS.filter(({ what, remedy, user_space, rules }) => {
    const names = [...user_space, ...rules.map((one) => one.function)].map(wordsOf);
    return (
      names.some((name) => name.includes(asked) || asked.includes(name)) ||
      [what, remedy].some((sentence) => wordsOf(sentence).includes(asked))
    );
  });
}

/** Its words in lower case with one space around each, so that a part of a word is not found. */
function wordsOf(text: string): string {
  return ` ${(text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? []).join(' ')} `;
}
