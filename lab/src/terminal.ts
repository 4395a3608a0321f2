import { once } from 'node:events';
import { createConnection } from 'node:net';
import type { Lab } from './lab.ts';

/** One day, because a person uses the shell. */
const LONGEST_SECONDS = 86_400;

/** Connects this terminal, or piped input, to a shell in the guest. Resolves when the shell has ended. */
export async function shellIn(lab: Lab): Promise<void> {
  const socket = createConnection(lab.guest.shellSocket);
  await once(socket, 'connect');
  const { stdin, stdout } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  socket.on('data', (chunk: Buffer) => stdout.write(chunk));
  socket.on('error', () => undefined);
  stdin.on('data', (chunk: Buffer) => socket.write(chunk));
  // When piped input ends, send the end-of-file character (Ctrl-D) to the guest's terminal.
  stdin.on('end', () => socket.write('\x04'));
  try {
    await lab.guest.run("cd /lab && setsid sh -c 'exec sh -l </dev/hvc0 >/dev/hvc0 2>&1'", LONGEST_SECONDS);
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
    socket.destroy();
  }
}
