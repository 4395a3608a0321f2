import { stat } from 'node:fs/promises';
import { failureOf, runCommand } from '../host/command.ts';
import { TracerError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';

/** The program that a user has to be able to read: path of Node, and of the main file. */
export interface ProgramFiles {
  node: string;
  main: string;
}

/** A program that setpriv starts with these flags cannot get a capability, not even by a setuid file. */
const WITHOUT_PRIVILEGES = ['--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all'];
const TIMEOUT_MS = 30_000;

/**
 * Flags for setpriv to start the server. If this process is root, the server becomes another user: `user`, or the owner
 * of the program if `user` cannot read it.
 *
 * @param setpriv path of setpriv
 * @param user USER[:GROUP], each a name or a number. Without a group, it has the name or number of the user
 * @throws TracerError `bad_config` if the user does not exist, or if no user but root can read the program
 */
export async function setprivFlags(
  setpriv: string,
  user: string,
  { node, main }: ProgramFiles,
  logger: Pick<Logger, 'warn'>,
): Promise<readonly string[]> {
  if (process.geteuid?.() !== 0) return WITHOUT_PRIVILEGES;
  const canRead = async (flags: readonly string[]): Promise<boolean> => {
    // 3: one of the tests is false. Another code: setpriv or the shell has failed.
    const args = [...flags, '--', '/bin/sh', '-c', 'test -x "$0" && test -r "$1" || exit 3', node, main];
    const result = await runCommand(setpriv, args, { searchPath: '', timeoutMs: TIMEOUT_MS });
    if (result.code === 3) return false;
    const failure = failureOf(result, TIMEOUT_MS);
    if (failure === null) return true;
    throw new TracerError('bad_config', `no program can be started as user ${user}: ${failure}`, {
      where: 'server-user',
      remedy: 'name a user that exists, as USER or USER:GROUP; each can be a number',
    });
  };
  const flags = flagsOf(user);
  if (await canRead(flags)) return flags;
  const { uid, gid } = await stat(main);
  const ofOwner = flagsOf(`${uid}:${gid}`);
  if (uid !== 0 && (await canRead(ofOwner))) {
    logger.warn({ uid }, `the server runs as the owner of the program, because user ${user} cannot read it`);
    return ofOwner;
  }
  throw new TracerError('bad_config', `user ${user} cannot run ${node} or read ${main}`, {
    where: 'server-user',
    remedy:
      'install Node and the program in folders that all users may read, or name a user that can read them',
  });
}

function flagsOf(user: string): readonly string[] {
  const [name, group = name] = user.split(':');
  return [`--reuid=${name}`, `--regid=${group}`, '--clear-groups', ...WITHOUT_PRIVILEGES];
}
