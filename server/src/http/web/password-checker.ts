import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';

interface Waiting {
  resolve: (matches: boolean) => void;
  reject: (error: Error) => void;
}

/** Compares passwords with bcrypt hashes, one at a time, in a thread that starts with the first one. */
export class PasswordChecker {
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #last = 0;

  /** @throws Error if the thread has ended; the next check starts a new one */
  check(password: string, hash: string): Promise<boolean> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ id, password, hash });
    });
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    // Next to this file in the sources; next to the program in a build, whose code is in `chunks`.
    const source = new URL('./bcrypt-worker.mjs', import.meta.url);
    const file = existsSync(source) ? source : new URL('../bcrypt-worker.mjs', import.meta.url);
    const worker = new Worker(file, { env: {}, execArgv: [] });
    worker.unref();
    worker.on('message', ({ id, matches }: { id: number; matches: boolean }) => {
      this.#waiting.get(id)?.resolve(matches);
      this.#waiting.delete(id);
    });
    const ended = (error: Error): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    worker.on('error', ended);
    worker.on('exit', () => ended(new Error('the thread that checks passwords has ended')));
    return worker;
  }
}
