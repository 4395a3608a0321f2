/** A file descriptor that systemd has opened and passed on. */
export interface PassedDescriptor {
  /** `FileDescriptorName` of the socket unit, or the name in `OpenFile`. */
  name: string;
  fd: number;
}

/** The first descriptor that systemd passes; sd_listen_fds(3). */
const FIRST = 3;

/**
 * The file descriptors that systemd has passed to the process with this pid. Removes the variables that name them from
 * the environment, so that no child takes them for its own.
 */
export function takeDescriptors(env: NodeJS.ProcessEnv, pid = process.pid): PassedDescriptor[] {
  const { LISTEN_PID: owner, LISTEN_FDS: count = '0', LISTEN_FDNAMES: names = '' } = env;
  delete env.LISTEN_PID;
  delete env.LISTEN_FDS;
  delete env.LISTEN_FDNAMES;
  if (owner !== String(pid) || !/^\d{1,4}$/.test(count)) return [];
  const known = names.split(':');
  return Array.from({ length: Number(count) }, (_, index) => ({
    name: known[index] ?? '',
    fd: FIRST + index,
  }));
}
