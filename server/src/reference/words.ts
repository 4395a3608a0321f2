import type { Rule } from './entry.ts';

/** Which kernels have a rule: `since 6.19`, `6.19 to 7.0`, `private-v1`. */
export function kernels({ since, until }: Pick<Rule, 'since' | 'until'>): string {
  if (until !== null) return `${since} to ${until}`;
  return /^\d/.test(since) ? `since ${since}` : since;
}
