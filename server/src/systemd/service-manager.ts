import { write } from 'node:fs';
import type { Logger } from '../lib/logger.ts';
import type { PassedDescriptor } from './descriptors.ts';

/** The name that `OpenFile` of the unit gives to the connection to systemd. */
export const NOTIFY_NAME = 'notify';
/** Milliseconds between two looks at the state. */
const REPORT_MS = 1000;
/** At least as many keep-alives in the time that the watchdog waits for one. So three may be late or lost. */
const KEEP_ALIVES = 4;

export interface ServiceManagerOptions {
  env: NodeJS.ProcessEnv;
  descriptors: readonly PassedDescriptor[];
  logger: Pick<Logger, 'warn' | 'error'>;
  pid?: number;
  /** Sends one message. Default: one write to the descriptor, which is one datagram. */
  send?: (fd: number, message: string, done: (error: Error | null) => void) => void;
}

/** What is reported while the service runs. */
export interface Reports {
  /** One line for `systemctl status`. */
  status: () => string;
  /** Why no keep-alive may be sent, so that the watchdog restarts the service; null if all is well. */
  problem: (limitMs: number) => string | null;
}

/**
 * Reports the state of this service to systemd: sd_notify(3) of `Type=notify` and `Type=notify-reload`, and the keep-alive
 * of `WatchdogSec`. Does nothing if systemd has not started this process.
 *
 * Node has no datagram sockets of the unix family. So the unit lets systemd open the connection:
 * `OpenFile=/run/systemd/notify:notify`, of systemd 253 and newer. No program has to be started for a message.
 */
export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  readonly #fd: number | null;
  /** A keep-alive is due within this time; null without a watchdog. */
  readonly #watchdogMs: number | null;
  #sent: Promise<void> = Promise.resolve();
  /** Messages that systemd has not accepted yet. */
  #waiting = 0;
  #status = '';
  #problem: string | null = null;
  #isFailing = false;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    const { env, descriptors, logger, pid = process.pid } = options;
    this.#fd = descriptors.find(({ name }) => name === NOTIFY_NAME)?.fd ?? null;
    const isOurs = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(pid);
    const watchdogMs = Number(env.WATCHDOG_USEC) / 1000;
    this.#watchdogMs = this.#fd !== null && isOurs && watchdogMs > 0 ? watchdogMs : null;
    if (this.#fd !== null || env.NOTIFY_SOCKET === undefined) return;
    const remedy = `add OpenFile=${env.NOTIFY_SOCKET}:${NOTIFY_NAME} to the unit (systemd 253), or use Type=exec`;
    logger.warn(
      { remedy },
      'systemd waits for messages of this service, but has opened no connection for them',
    );
  }

  /** The service serves. */
  ready(): void {
    this.#notify('READY=1');
  }

  /** A reload begins. To be followed by `ready`. */
  reloading(): void {
    this.#notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    this.#notify('STOPPING=1');
  }

  /** Reports until the returned function is called. */
  report(reports: Reports): () => void {
    if (this.#fd === null) return () => {};
    const intervalMs = Math.min(REPORT_MS, (this.#watchdogMs ?? Number.POSITIVE_INFINITY) / KEEP_ALIVES);
    this.#report(reports);
    const timer = setInterval(() => this.#report(reports), intervalMs);
    return () => clearInterval(timer);
  }

  #report({ status, problem }: Reports): void {
    if (this.#waiting > 0) return;
    const text = status();
    if (text !== this.#status) this.#notify(`STATUS=${text.replaceAll(/\s+/g, ' ')}`);
    this.#status = text;
    if (this.#watchdogMs === null) return;
    const why = problem(this.#watchdogMs / 2);
    if (why === null) this.#notify('WATCHDOG=1');
    else if (this.#problem === null)
      this.#options.logger.error(`no keep-alive for systemd, so it will restart this service: ${why}`);
    this.#problem = why;
  }

  /** Sends a message after the ones before. A failure is logged once, and again after a success. */
  #notify(message: string): void {
    const fd = this.#fd;
    if (fd === null) return;
    const { logger, send = sendToDescriptor } = this.#options;
    this.#waiting += 1;
    this.#sent = this.#sent.then(
      () =>
        new Promise((resolve) => {
          send(fd, message, (err) => {
            if (err !== null && !this.#isFailing) logger.warn({ err }, 'systemd does not accept messages');
            this.#isFailing = err !== null;
            this.#waiting -= 1;
            resolve();
          });
        }),
    );
  }
}

/** In a thread of the pool: a socket whose buffer is full must not block this one. */
function sendToDescriptor(fd: number, message: string, done: (error: Error | null) => void): void {
  write(fd, message, null, 'utf8', (error) => done(error));
}
