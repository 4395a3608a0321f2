import { LiveConfig, type ReloadResult } from './config/live-config.ts';
import type { Config } from './config/schema.ts';
import type { Status } from './contract/status.ts';
import { createApp } from './http/app.ts';
import { connectionLimit } from './http/connections.ts';
import { HostNames } from './http/hosts.ts';
import type { App, ScrapeCounters } from './http/plugin.ts';
import { type Readiness, readinessOf } from './http/readiness.ts';
import { HttpServer } from './http/server.ts';
import { StreamHub } from './http/sse/hub.ts';
import { Access } from './http/web/access.ts';
import { BasicAuth } from './http/web/basic-auth.ts';
import { WebConfig } from './http/web/web-config.ts';
import type { WebFiles } from './http/web-files.ts';
import type { Clock } from './lib/clock.ts';
import { withinDeadline } from './lib/deadline.ts';
import { descriptorLimit } from './lib/descriptors.ts';
import { TracerError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { Throttle } from './lib/throttle.ts';
import { Catalogue } from './metrics/catalogue.ts';
import { type LineSource, observed } from './protocol/source.ts';
import type { HostError } from './protocol/wire.ts';
import { addServerFamilies } from './server-families.ts';
import { EventLog } from './sinks/event-log.ts';
import { EventOutput } from './sinks/event-output.ts';
import { Pipeline } from './tracer/pipeline.ts';
import { TracerModel } from './tracer/tracer.ts';

export interface DaemonOptions {
  config: Config;
  /** Reads all sources of the settings again, for a reload. Default: the settings do not change. */
  loadConfig?: () => Config;
  source: LineSource;
  version: string;
  logger: Logger;
  clock: Clock;
  /** The files of the built page. */
  web?: WebFiles;
  /** Sockets that already listen. They are served instead of `web.listen-address`. */
  descriptors?: readonly number[];
  /** Time limit of the complete stop, in milliseconds; default 10,000. */
  stopMs?: number;
  /** Kills the process after this time, even if the event loop is blocked. Returns a function that cancels it. Default: none. */
  killAfter?: (ms: number) => () => void;
}

/** Limit of concurrent clients of the event stream. */
const MAX_STREAMS = 64;
/** Time between the deadline of a stop and the kill of the process. */
const GRACE_MS = 2000;

/** Composition root: creates all parts, and starts and stops them in order. */
export class Daemon {
  readonly model: TracerModel;
  readonly app: App;
  readonly server: HttpServer;
  readonly #options: DaemonOptions;
  readonly #pipeline: Pipeline;
  readonly #hub: StreamHub;
  readonly #output: EventOutput | null;
  readonly #hosts: HostNames;
  readonly #config: LiveConfig;
  readonly #web: WebConfig;
  readonly #auth = new BasicAuth();
  readonly #access: Access;
  readonly #abort = new AbortController();
  readonly #scrapes: ScrapeCounters = { rejected: 0 };
  /**
   * Difference between the boot clock of this host and that of the stream, in microseconds. Neither clock steps. It is computed once
   * for each header, from the wall clocks of both hosts, so a later step of a wall clock does not make counters look old.
   */
  #streamOffsetUs = 0;
  #headerEpochUs = 0;
  readonly #hostErrors: Throttle;
  #reading: Promise<void> | undefined;
  #replayed = false;
  #subscriberErrors = 0;
  #stopped: Promise<void> | undefined;
  #state: Status['state'] = 'waiting';
  #fail: (error: unknown) => void = () => {};
  readonly #failed: Promise<never>;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => {});
    const { config, source, logger, clock, version, loadConfig = () => config } = options;
    this.#config = new LiveConfig({ config, load: loadConfig, logger, clock });
    this.model = new TracerModel({
      version,
      source: { kind: source.kind, name: source.name },
      seriesLimit: config['metrics.max-series'],
      keepDeparted: config['metrics.keep-departed'],
    });
    const events = new EventLog({ keep: config['events.keep'], id: Math.round(clock.wallMs()).toString(36) });
    const connections = connectionLimit(descriptorLimit());
    // Open streams are never closed in favor of other clients, so they may use only half of the connections.
    this.#hub = new StreamHub({
      log: events,
      maxClients: Math.min(MAX_STREAMS, Math.floor(connections / 2)),
    });
    const catalogue = new Catalogue({
      model: this.model,
      processMetrics: !config['web.disable-exporter-metrics'],
    });
    const failures = new Throttle({ clock, everyMs: 10_000 });
    this.#hostErrors = new Throttle({ clock, everyMs: 60_000 });
    this.#pipeline = new Pipeline({
      source: this.#observed(source),
      model: this.model,
      onFailure: (failure, error) => {
        const notLogged = failures.pass();
        if (notLogged === undefined) return;
        if (error === undefined)
          logger.warn({ failure, not_logged: notLogged }, 'a line of the stream could not be read');
        else
          logger.error(
            { err: error, failure, not_logged: notLogged },
            'a line of the stream could not be processed: this is a defect',
          );
      },
      onSubscriberError: (error) => {
        this.#subscriberErrors += 1;
        logger.error({ err: error }, 'a subscriber of the events failed');
      },
    });
    this.#pipeline.subscribe((event) => events.append(event));
    this.#output =
      config['events.output'] === ''
        ? null
        : new EventOutput({
            path: config['events.output'],
            log: events.id,
            version,
            filter: {
              kinds: config['events.output-kinds'],
              results: config['events.output-results'],
              devices: config['events.output-devices'],
            },
            logger,
            clock,
          });
    this.#pipeline.subscribe((event) => this.#output?.append(event));
    const rejections = new Throttle({ clock, everyMs: 60_000 });
    this.#hosts = new HostNames({
      addresses: config['web.listen-address'],
      allowed: config['web.allowed-hosts'],
      onUnknown: (host) => {
        const notLogged = rejections.pass();
        if (notLogged === undefined) return;
        const remedy = 'if that is a name of this server, add it to web.allowed-hosts';
        logger.warn({ host, remedy, not_logged: notLogged }, 'rejected a request for another host');
      },
    });
    this.#web = new WebConfig({ path: config['web.config.file'], logger, clock });
    const denials = new Throttle({ clock, everyMs: 60_000 });
    this.#access = new Access({
      settings: () => this.#web.current.settings,
      auth: this.#auth,
      clock,
      onRejected: (message, from) => {
        const notLogged = denials.pass();
        if (notLogged !== undefined)
          logger.warn({ from, not_logged: notLogged }, `rejected a request: ${message}`);
      },
    });
    addServerFamilies(catalogue, {
      events,
      output: this.#output,
      hub: this.#hub,
      scrapes: this.#scrapes,
      access: this.#access,
      server: () => this.server,
      subscriberErrors: () => this.#subscriberErrors,
      reloads: () => ({ config: this.#config.lastReload, web_config: this.#web.lastReload }),
    });
    const settings = this.#config;
    this.app = createApp({
      model: this.model,
      metrics: catalogue,
      events,
      hub: this.#hub,
      readiness: () => this.readiness(),
      telemetryPath: config['web.telemetry-path'],
      get maxRequests() {
        return settings.current['web.max-requests'];
      },
      scrapes: this.#scrapes,
      hosts: this.#hosts,
      access: this.#access,
      ...(config['web.enable-lifecycle'] ? { reload: () => this.reload() } : {}),
      logger,
      ...(options.web === undefined ? {} : { web: options.web }),
    });
    this.server = new HttpServer({
      app: this.app,
      addresses: config['web.listen-address'],
      ...(options.descriptors === undefined ? {} : { descriptors: options.descriptors }),
      telemetryPath: config['web.telemetry-path'],
      limits: { connections },
      web: this.#web,
      logger,
      clock,
    });
  }

  /** Starts the server before the source, because `up 0` and `not ready` are useful answers. */
  async start(): Promise<void> {
    await this.#output?.start();
    await this.#web.start();
    await this.server.start();
    // A name service that does not answer must not delay the tracer.
    if (!this.server.loopbackOnly) void this.#hosts.addOwnNames();
    this.#reading = this.#pipeline.run(this.#abort.signal);
    this.#reading.then(() => this.#sourceEnded(), this.#fail);
    if (this.#options.source.kind === 'live') this.#noteState();
  }

  /** Resolves when the signal requests the stop. Rejects if the daemon fails before, or has already failed. */
  async untilStopped(signal: AbortSignal): Promise<void> {
    const stopRequested = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([stopRequested, this.#failed]);
  }

  /**
   * Reads the settings and the web configuration file again, and opens the file of the event output again.
   *
   * @throws TracerError if one of them cannot be used; the old ones stay in use
   */
  async reload(): Promise<ReloadResult> {
    this.#output?.reopen();
    const result = this.#config.reload();
    const { current } = this.#config;
    this.#hosts.allow(current['web.allowed-hosts']);
    if (result.changed.includes('log.level')) this.#options.logger.level = current['log.level'];
    await this.#web.reload();
    return result;
  }

  readiness(): Readiness {
    const status = this.model.status();
    const { clock } = this.#options;
    const { lastReadAt } = this.model.accounting;
    return readinessOf({
      status,
      counterAgeUs: lastReadAt === null ? null : clock.bootUs() - this.#streamOffsetUs - lastReadAt,
      staleAfterS: this.#config.current['stale-after'],
      replayed: this.#replayed,
      stopping: this.#stopped !== undefined,
    });
  }

  /** Stops the source and its child, processes their last lines, then closes the streams and the server. One deadline covers all. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { logger, clock, stopMs = 10_000, killAfter } = this.#options;
    // All other deadlines depend on the event loop.
    const cancelKill = killAfter?.(stopMs + GRACE_MS);
    const end = clock.bootUs() / 1000 + stopMs;
    const left = (): number => end - clock.bootUs() / 1000;
    this.#abort.abort('stop');
    const reading = (this.#reading ?? Promise.resolve()).catch((error: unknown) => {
      logger.debug({ err: error }, 'the source ended with an error');
    });
    // A tenth of the time is reserved for the clients, so that their streams can end.
    if (!(await withinDeadline(reading, left() - stopMs / 10))) {
      logger.error('the collector did not stop in time; the daemon stops without it');
    }
    const output = this.#output?.stop();
    if (!(await withinDeadline(this.server.stop(), left()))) {
      logger.warn('some clients did not read their answers in time; their connections are closed');
      this.server.abandon();
    }
    await output;
    this.#web.stop();
    await this.#auth.stop();
    cancelKill?.();
    logger.info('stopped');
  }

  /** Wraps the source to log each change of state once, as soon as its line arrives. */
  #observed(source: LineSource): LineSource {
    if (source.kind === 'replay') return source;
    return observed(source, ({ record }) => {
      this.#noteHeader();
      if (record.type === 'host_error') this.#noteHostError(record.data);
      if (record.type === 'child' || this.#state !== 'tracing') this.#noteState();
    });
  }

  #noteHeader(): void {
    const { headerEpochUs } = this.model;
    if (headerEpochUs === this.#headerEpochUs) return;
    const { clock } = this.#options;
    this.#headerEpochUs = headerEpochUs;
    this.#streamOffsetUs = headerEpochUs - (clock.wallMs() * 1000 - clock.bootUs());
  }

  #noteHostError({ source, count, message }: HostError): void {
    const notLogged = this.#hostErrors.pass();
    if (notLogged === undefined) return;
    this.#options.logger.warn(
      { source, count, not_logged: notLogged },
      `a read of the host failed and is retried: ${message}`,
    );
  }

  #sourceEnded(): void {
    const { source, logger } = this.#options;
    if (this.#abort.signal.aborted) return;
    if (source.kind === 'live') {
      this.#fail(new TracerError('child_failed', 'the stream has ended: its collector has stopped'));
      return;
    }
    this.#replayed = true;
    logger.info({ recording: source.name }, 'the end of the recording is reached');
  }

  #noteState(): void {
    const { state, problem, dialect, generation } = this.model.collection;
    if (state === this.#state) return;
    this.#state = state;
    const { logger, config } = this.#options;
    const fields = { state, dialect, generation };
    if (state !== 'unavailable') {
      if (problem === null || state === 'tracing') logger.info(fields, `collection: ${state}`);
      else {
        const fix = problem.remedy === null ? {} : { remedy: problem.remedy };
        logger.warn(
          { ...fields, reason: problem.reason, ...fix },
          `collection: ${state}: ${problem.message}`,
        );
      }
      return;
    }
    const message = `this host cannot be traced: ${problem?.message ?? 'no reason was given'}`;
    const remedy = problem?.remedy ?? undefined;
    if (config.strict) {
      const detail = remedy === undefined ? {} : { remedy };
      this.#fail(new TracerError('host_untraceable', message, detail));
    } else {
      logger.error({ ...fields, reason: problem?.reason, remedy }, message);
    }
  }
}
