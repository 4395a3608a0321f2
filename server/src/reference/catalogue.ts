import type { Reason } from '../stream/codes.ts';
import { CAUSE_ENTRIES } from './causes.ts';
import { COMMON_REASONS } from './common-reasons.ts';
import type { Entry, Step } from './entry.ts';
import { EXPORT_REASONS } from './export-reasons.ts';
import { IMPORT_REASONS } from './import-reasons.ts';
import { PRIVATE_REASONS } from './private-reasons.ts';
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

/** What a name is one of; also the label under which metrics have it. */
export const TOPICS = ['reason', 'violation', 'cause'] as const;
export type Topic = (typeof TOPICS)[number];

/** One entry as the CLI, the API and the docs tell it. */
export interface Explanation extends Entry {
  name: string;
  topic: Topic;
  /** Where it can occur, each once. */
  steps: Step[];
  /** False where no probe of this version prints it. */
  printed: boolean;
  /** Its paragraph in the docs, for the annotation of an alert. */
  docs: string;
}

const PAGE = 'docs/reasons.md';

const BY_TOPIC: Record<Topic, Readonly<Record<string, Entry>>> = {
  reason: REASON_ENTRIES,
  violation: VIOLATION_ENTRIES,
  cause: CAUSE_ENTRIES,
};

/** Every entry, by topic and in the order of the catalogue; names are unique over all topics. */
export const EXPLANATIONS: readonly Explanation[] = TOPICS.flatMap((topic) =>
  Object.entries(BY_TOPIC[topic]).map(([name, entry]) => ({
    name,
    topic,
    ...entry,
    steps: [...new Set(entry.rules.map(({ step }) => step))],
    printed: !(UNPRINTED as readonly string[]).includes(name),
    docs: `${PAGE}#${name}`,
  })),
);

export const EXPLAINED_NAMES: readonly string[] = EXPLANATIONS.map(({ name }) => name);

export function explain(name: string): Explanation | undefined {
  return EXPLANATIONS.find((entry) => entry.name === name);
}
