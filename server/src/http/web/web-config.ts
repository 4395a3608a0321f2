import { NO_WEB_SETTINGS } from '../../config/web-file.ts';
import type { Clock } from '../../lib/clock.ts';
import { TracerError } from '../../lib/errors.ts';
import type { LastReload } from '../../lib/last-reload.ts';
import type { Logger } from '../../lib/logger.ts';
import { hasChanged, type LoadedWeb, loadWeb } from './load.ts';

export interface WebConfigOptions {
  /** Path of the web configuration file; empty: none. */
  path: string;
  logger: Logger;
  clock: Pick<Clock, 'wallMs'>;
}

/** Milliseconds between checks whether a file has changed. */
const CHECK_MS = 1000;

/**
 * The web configuration file in use. The files are read again when one of them has changed. A file that cannot be used
 * changes nothing: certificate and key are usually replaced one after the other.
 */
export class WebConfig {
  /** Called with each new configuration, before it is used for requests. */
  onChange: (loaded: LoadedWeb) => void = () => {};
  readonly #options: WebConfigOptions;
  #current: LoadedWeb = {
    settings: NO_WEB_SETTINGS,
    tls: undefined,
    isBlank: true,
    versions: new Map(),
  };
  #problem: string | undefined;
  #successMs = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: WebConfigOptions) {
    this.#options = options;
  }

  get current(): LoadedWeb {
    return this.#current;
  }

  /** The result of the last read; undefined without a file. */
  get lastReload(): LastReload | undefined {
    if (this.#options.path === '') return undefined;
    return { successful: this.#problem === undefined, successMs: this.#successMs };
  }

  /** @throws TracerError if the file cannot be used */
  async start(): Promise<void> {
    const { path } = this.#options;
    if (path === '') return;
    this.#use(await loadWeb(path));
    this.#scheduleCheck();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#stopped = true;
  }

  /**
   * Reads the files now, whether or not they have changed.
   *
   * @throws TracerError if the file cannot be used; the old configuration stays
   */
  async reload(): Promise<void> {
    if (this.#options.path === '') return;
    const error = await this.#enqueue(() => this.#read());
    if (error !== undefined) throw error;
  }

  /** One read at a time: a later one must not be overtaken by an earlier one. */
  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }

  #scheduleCheck(): void {
    if (this.#stopped) return;
    const check = (): void => void this.#enqueue(() => this.#check()).finally(() => this.#scheduleCheck());
    this.#timer = setTimeout(check, CHECK_MS).unref();
  }

  async #check(): Promise<void> {
    // After a failure it reads each time, because the failed file may name other files.
    if (this.#problem !== undefined || (await hasChanged(this.#current))) await this.#read();
  }

  async #read(): Promise<TracerError | undefined> {
    const { path, logger } = this.#options;
    try {
      const loaded = await loadWeb(path);
      if (loaded.isBlank && !this.#current.isBlank) {
        // Many programs empty a file before they write to it. Meanwhile nobody must get in without a password.
        throw new TracerError('bad_config', 'the file is empty', {
          where: path,
          remedy: 'write its text; `{}` turns everything off',
        });
      }
      if ((loaded.tls === undefined) !== (this.#current.tls === undefined)) {
        throw new TracerError('bad_config', 'tls_server_config was added or removed, which needs a restart', {
          where: path,
          remedy: 'restart the daemon, or undo the change',
        });
      }
      this.#use(loaded);
      logger.info({ file: path }, 'the web configuration file was read again');
      return undefined;
    } catch (cause) {
      const error =
        cause instanceof TracerError
          ? cause
          : new TracerError('bad_config', `it cannot be used: ${(cause as Error).message}`, {
              where: path,
              cause,
            });
      const text = error.describe();
      if (text !== this.#problem) {
        const { where, remedy } = error;
        logger.error({ where, remedy }, `the old web configuration stays in use: ${error.message}`);
      }
      this.#problem = text;
      return error;
    }
  }

  #use(loaded: LoadedWeb): void {
    this.onChange(loaded);
    this.#current = loaded;
    this.#problem = undefined;
    this.#successMs = this.#options.clock.wallMs();
  }
}
