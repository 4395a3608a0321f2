import { ERRNO_MESSAGES } from '../contract/errno-names.ts';
import { EXPLANATIONS, type Explanation } from './catalogue.ts';

/** Minimum length of a search text that is not the name of a stage. Shorter texts match parts of many entries. */
const MIN_LENGTH = 3;

/**
 * Finds the entries that match a text: an errno or its message, a stage, an alert, a log line of a VMM, a failed function, a setting, or
 * a function of the kernel. The text can be longer than the text in the catalogue (such as a log line with its time), or shorter. If a
 * longer text names an errno, entries that never have this errno are left out.
 */
export function findExplanations(text: string): Explanation[] {
  const wanted = normalized(text);
  const word = wanted.trim();
  const atStage = EXPLANATIONS.filter(({ stages }) => (stages as string[]).includes(word));
  if (atStage.length > 0) return atStage;
  if (word.length < MIN_LENGTH) return [];
  const errnos = errnosIn(wanted);
  const isErrno = errnos.some(
    (errno) => word === errno.toLowerCase() || wanted === normalized(ERRNO_MESSAGES[errno] ?? ''),
  );
  return EXPLANATIONS.filter((entry) => {
    if (isErrno && entry.rules.some(({ errno }) => errno !== null && errnos.includes(errno))) return true;
    return matches(entry, wanted) && (isErrno || mayHave(entry, errnos));
  });
}

/** The errnos that a normalized text has, by name (ENODEV) or by message (No such device). */
export function errnosIn(text: string): string[] {
  const wanted = normalized(text);
  return Object.entries(ERRNO_MESSAGES)
    .filter(([name, message]) => [name, message].some((one) => wanted.includes(normalized(one))))
    .map(([name]) => name);
}

function matches({ what, remedy, docs, user_space, rules }: Explanation, wanted: string): boolean {
  const names = [...user_space, ...rules.map((one) => one.function)].map(normalized);
  return (
    names.some((name) => name.includes(wanted) || wanted.includes(name)) ||
    [what, remedy].some((sentence) => normalized(sentence).includes(wanted)) ||
    // The runbook has the name of its alert.
    docs.toLowerCase().endsWith(`/${wanted.trim()}.md`)
  );
}

/** Whether a call that failed with one of these errnos can be about this entry. */
function mayHave({ rules }: Explanation, errnos: readonly string[]): boolean {
  if (errnos.length === 0 || rules.length === 0) return true;
  return rules.some(({ errno }) => errno === null || errnos.includes(errno));
}

/** The words of a text in lower case, separated and enclosed by one space, so that parts of words do not match. */
function normalized(text: string): string {
  return ` ${(text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? []).join(' ')} `;
}
