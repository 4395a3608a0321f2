/** The code of a system error, such as `EMFILE`; `unknown` if it has none. */
export function errnoOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return typeof code === 'string' ? code : 'unknown';
}

/**
 * Whether the error shows that the file or process does not exist. Other errors do not: EMFILE, for example, is not an
 * absence.
 */
export function isAbsent(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENOENT' || code === 'ESRCH';
}

/** Whether the kernel denied the access. A retry fails too, until the privileges change. */
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

/** Whether a resource is exhausted or busy, such as descriptors, processes, memory or space. A retry may succeed. */
export function isOutOfResources(code: string): boolean {
  return OUT_OF_RESOURCES.has(code);
}

/**
 * Waits for a read of the host.
 * @returns its result, or `absent` if the file or process does not exist
 * @throws all other errors: the file or process may exist
 */
export async function orAbsent<T, A>(read: Promise<T>, absent: A): Promise<T | A> {
  try {
    return await read;
  } catch (error) {
    if (isAbsent(error)) return absent;
    throw error;
  }
}

/** Called for each failed read of the host, except if the file or process does not exist. */
export type OnReadError = (error: unknown) => void;

const MESSAGE_LENGTH = 200;

/** `EMFILE: /proc/1/stat`, bounded. */
export function describeError(error: unknown): string {
  const { path, message } = error as NodeJS.ErrnoException;
  const where = path ?? message ?? String(error);
  return `${errnoOf(error)}: ${where}`.slice(0, MESSAGE_LENGTH);
}

/**
 * Returns a function that waits for a read of the host, and gives a fallback if the read fails. It adds the failure to
 * `errors`, for people, unless the access was denied.
 */
export function readerNoting(errors: string[]): <T>(read: Promise<T>, fallback: T) => Promise<T> {
  return async (read, fallback) => {
    try {
      return await read;
    } catch (error) {
      if (!isDenied(error)) errors.push(describeError(error));
      return fallback;
    }
  };
}
