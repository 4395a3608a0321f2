// Checks passwords in a thread, because a bcrypt hash takes 0.1 s of CPU or more. JavaScript, because Node starts it.
import { parentPort } from 'node:worker_threads';
import bcrypt from 'bcryptjs';

parentPort?.on('message', ({ id, password, hash }) => {
  parentPort?.postMessage({ id, matches: bcrypt.compareSync(password, hash) });
});
