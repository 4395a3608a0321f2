import { atLeast } from '../../src/contract/format.ts';
import type { Status } from './types.ts';

/** Whether the values shown are current, from before tracing ended, or unknown because nothing was ever traced. */
export type Knowledge = 'now' | 'before' | 'never';

export function knowledgeOf(status: Status | null): Knowledge {
  if (status === null) return 'never';
  if (status.state === 'tracing') return 'now';
  const { last_counter_read: read, events_received: events, buffers } = status;
  return read !== null || events + buffers.live + buffers.revoked > 0 ? 'before' : 'never';
}

/** Shown instead of a zero, which would look like a measured value. */
export const NOT_KNOWN = 'Not known: nothing is traced.';

/** Shown if there are no buffers. */
export const NO_EXPORT: Readonly<Record<Knowledge, string>> = {
  now: 'No device exports its memory now.',
  before: 'No device exported its memory when tracing ended.',
  never: NOT_KNOWN,
};

/** Groups of probes that have to be attached for a number to be complete. */
export type Coverage = 'rejections' | 'importers' | 'revocations';

export function covers(status: Status | null, what: Coverage): boolean {
  if (status === null) return false;
  const attached = new Set(status.probes.filter((probe) => probe.attached).map(({ probe }) => probe));
  const bind = status.dialect.startsWith('private') ? ['bind'] : [];
  const wanted = {
    rejections: ['export', 'attach', ...bind],
    importers: ['attach', 'detach', ...bind],
    revocations: ['revoke'],
  };
  return wanted[what].every((probe) => attached.has(probe));
}

/**
 * A number as text, with `≥` if a probe that it needs is not attached. After tracing ended the attached probes are not
 * known, so a number from before is shown unchanged.
 */
export function figure(number: number, status: Status | null, what: Coverage): string {
  return atLeast(number, covers(status, what) || (number > 0 && knowledgeOf(status) === 'before'));
}

/** What losses mean for the counters. */
export function countersSentence({ counters_exact: exact }: Pick<Status, 'counters_exact'>): string {
  return exact
    ? 'Counters come from the kernel, and lost events do not change them.'
    : 'Counters are too low: each is a lower bound.';
}
