/** The code of a system error, such as `EMFILE`; `unknown` where it has none. */
export function errnoOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return typeof code === 'string' ? code : 'unknown';
}

/** Whether the file or the process does not exist. No other error says that: a table of open files that is full is not an absence. */
export function isAbsent(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENOENT' || code === 'ESRCH';
}

/** Whether the kernel denied the access. It will deny it again until somebody changes the privileges. */
export function isDenied(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'EACCES' || code === 'EPERM';
}

const OUT_OF_RESOURCES: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'EAGAIN',
  'ENOSPC',
  'EBUSY',
  'EDQUOT',
  'EUSERS',
]);

/** Whether something was used up or taken: descriptors, processes, memory, space. A later try may succeed. */
export function isOutOfResources(code: string): boolean {
  return OUT_OF_RESOURCES.has(code);
}

/**
 * Waits for a read of the host.
 * @returns its result, or `absent` where the file or process does not exist.
 * @throws every other error: it says nothing about what exists.
 */
export async function orAbsent<T, A>(read: Promise<T>, absent: A): Promise<T | A> {
  try {
    return await read;
  } catch (error) {
    if (isAbsent(error)) return absent;
    throw error;
  }
}
