import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { TracerError } from '../lib/errors.ts';
import type { LastReload } from '../lib/last-reload.ts';
import type { Logger } from '../lib/logger.ts';
import { CONFIG_KEYS, type Config, type ConfigKey } from './schema.ts';

/** Settings that a reload changes. A change of another one needs a restart. */
export const CHANGED_BY_RELOAD: readonly ConfigKey[] = [
  'web.allowed-hosts',
  'web.max-requests',
  'log.level',
  'stale-after',
];

export interface ReloadResult {
  /** Settings that changed and are used now. */
  changed: ConfigKey[];
  /** Settings whose new value is used only after a restart. */
  needRestart: ConfigKey[];
}

export interface LiveConfigOptions {
  config: Config;
  /** Reads all sources of the settings again. @throws TracerError */
  load: () => Config;
  logger: Logger;
  clock: Pick<Clock, 'wallMs'>;
}

/** The settings in use. A reload that fails changes nothing. */
export class LiveConfig {
  readonly #options: LiveConfigOptions;
  #current: Config;
  #lastReload: LastReload;

  constructor(options: LiveConfigOptions) {
    this.#options = options;
    this.#current = options.config;
    this.#lastReload = { successful: true, successMs: options.clock.wallMs() };
  }

  get current(): Config {
    return this.#current;
  }

  get lastReload(): LastReload {
    return this.#lastReload;
  }

  /** @throws TracerError if a source of the settings cannot be used */
  reload(): ReloadResult {
    const { load, logger, clock } = this.#options;
    let next: Config;
    try {
      next = load();
    } catch (error) {
      const { message, where, remedy } = error as TracerError;
      logger.error({ where, remedy }, `the old settings stay in use: ${message}`);
      this.#lastReload = { ...this.#lastReload, successful: false };
      throw error;
    }
    const differing = CONFIG_KEYS.filter((key) => !isDeepStrictEqual(next[key], this.#current[key]));
    const changed = differing.filter((key) => CHANGED_BY_RELOAD.includes(key));
    const needRestart = differing.filter((key) => !CHANGED_BY_RELOAD.includes(key));
    this.#current = { ...this.#current, ...Object.fromEntries(changed.map((key) => [key, next[key]])) };
    this.#lastReload = { successful: true, successMs: clock.wallMs() };
    logger.info({ changed }, 'the settings were read again');
    if (needRestart.length > 0) {
      logger.warn({ settings: needRestart }, 'the new values of these settings are used after a restart');
    }
    return { changed, needRestart };
  }
}
