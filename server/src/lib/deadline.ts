/**
 * Waits at most `ms` milliseconds for `work`. Resolves with whether it ended in time; the work is not cancelled.
 * @throws the error of `work`, if it fails in time; a later error is ignored
 */
export async function withinDeadline(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.max(0, ms));
  });
  try {
    return await Promise.race([work.then(() => true as const), deadline]);
  } finally {
    clearTimeout(timer);
  }
}
