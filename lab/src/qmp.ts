import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** Client of QEMU's monitor protocol (QMP): one command at a time, JSON lines. */
export class Qmp {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  // biome-ignore lint/style/useConsistentMemberAccessibility: a constructor has no # form
  private constructor(socket: Socket, lines: Interface) {
    this.#socket = socket;
    this.#lines = lines[Symbol.asyncIterator]();
  }

  /** Connects to a monitor's socket and leaves its negotiation mode. */
  static async connect(path: string): Promise<Qmp> {
    const socket = createConnection(path);
    await once(socket, 'connect');
    const qmp = new Qmp(socket, createInterface({ input: socket }));
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /**
   * Resolves with the return value of the command. Ignores the greeting and events. @throws Error with QEMU's reason.
   */
  async execute(command: string, args: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`QEMU closed its monitor during ${command}`);
      const answer = JSON.parse(value) as { return?: unknown; error?: { desc: string } };
      if (answer.error !== undefined) throw new Error(`QEMU: ${command}: ${answer.error.desc}`);
      if ('return' in answer) return answer.return;
    }
  }

  /** Stops the machine and pipes its state into a shell command. The machine stays stopped. */
  async save(command: string): Promise<void> {
    await this.execute('stop');
    await this.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 });
    await this.execute('migrate', { uri: `exec:${command}` });
    for (;;) {
      const { status, 'error-desc': why } = (await this.execute('query-migrate')) as Record<string, string>;
      if (status === 'completed') return;
      if (status === 'failed' || status === 'cancelled')
        throw new Error(`QEMU: migrate ${status}: ${why ?? ''}`);
      await sleep(50);
    }
  }

  /** Waits until a machine that was started with `-incoming` has read its state, and lets it run. */
  async resume(): Promise<void> {
    for (;;) {
      const { status } = (await this.execute('query-status')) as { status: string };
      if (status !== 'inmigrate') break;
      await sleep(50);
    }
    await this.execute('cont');
  }

  close(): void {
    this.#socket.destroy();
  }
}
