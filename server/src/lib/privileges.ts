import { TracerError } from './errors.ts';

/**
 * Gives up root for good: this process becomes the user, without supplementary groups and without capabilities.
 * Does nothing in a process that is not root. Files that are open stay open.
 *
 * @param user `USER` or `USER:GROUP`, each a name or a number. Without `:GROUP` the group has the same name or number.
 * @throws TracerError `bad_config` if there is no such user or group, or if this process may not change its user
 */
export function becomeUser(user: string): void {
  if (process.geteuid?.() !== 0) return;
  const [name = '', group = name] = user.split(':').map(nameOrNumber);
  try {
    // The groups first: they cannot be changed without root.
    process.setgroups?.([]);
    process.setgid?.(group);
    process.setuid?.(name);
  } catch (cause) {
    throw new TracerError('bad_config', `cannot become the user ${user}: ${(cause as Error).message}`, {
      where: 'server-user',
      remedy: 'name a user that exists, as USER or USER:GROUP; each can be a number',
      cause,
    });
  }
}

function nameOrNumber(text: string): string | number {
  return /^\d+$/.test(text) ? Number(text) : text;
}
