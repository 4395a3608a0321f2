import type { Config } from './config/schema.ts';
import { type App, createApp } from './http/app.ts';
import { connectionLimit } from './http/connections.ts';
import { HostNames } from './http/hosts.ts';
import { type Readiness, readinessOf } from './http/readiness.ts';
import type { ScrapeCounters } from './http/routes/metrics.ts';
import { HttpServer } from './http/server.ts';
import { StreamHub } from './http/sse/hub.ts';
import type { WebFiles } from './http/web-files.ts';
import { Catalogue } from './metrics/catalogue.ts';
import { byKey } from './metrics/family.ts';
import { TracerModel } from './model/model.ts';
import { Pipeline } from './model/pipeline.ts';
import type { Status } from './model/schema.ts';
import { EventLog } from './sinks/event-log.ts';
import { decodeLine } from './stream/decode.ts';
import type { LineSource } from './stream/source.ts';
import type { Clock } from './support/clock.ts';
import { withinDeadline } from './support/deadline.ts';
import { descriptorLimit } from './support/descriptors.ts';
import { TracerError } from './support/errors.ts';
import type { Logger } from './support/logger.ts';
import { Throttle } from './support/throttle.ts';

export interface DaemonOptions {
  config: Config;
  source: LineSource;
  version: string;
  logger: Logger;
  clock: Clock;
  /** Where the stream is also recorded: the metrics report what is missing there, and whether it goes on. */
  recorder?: { readonly dropped: number; readonly error?: Error | null };
  /** The built page. */
  web?: WebFiles;
  /** Time for the whole stop; default 10 s. */
  stopMs?: number;
  /** Ends the process after this time unless it is called off, whatever the event loop does; default: nothing does. */
  killAfter?: (ms: number) => () => void;
}

/** Clients of the event stream at the same time. */
const MAX_STREAMS = 64;
/** After the deadline of a stop the process has this time to end by itself. */
const GRACE_MS = 2000;

/** The composition root: the one place that knows every part, and the order in which they start and stop. */
export class Daemon {
  readonly model: TracerModel;
  readonly app: App;
  readonly server: HttpServer;
  readonly #options: DaemonOptions;
  readonly #pipeline: Pipeline;
  readonly #hub: StreamHub;
  readonly #hosts: HostNames;
  readonly #abort = new AbortController();
  readonly #scrapes: ScrapeCounters = { rejected: 0 };
  /**
   * How far our clock since boot is ahead of the one of the stream, in microseconds; both are free of steps. Taken when a header
   * comes, from the wall clocks of both: what is done to these later makes no counter look old.
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
    const { config, source, logger, clock, version } = options;
    this.model = new TracerModel({
      version,
      source: { kind: source.kind, name: source.name },
      seriesLimit: config['metrics.max-series'],
      keepDeparted: config['metrics.keep-departed'],
    });
    const events = new EventLog({ keep: config['events.keep'], id: Math.round(clock.wallMs()).toString(36) });
    const connections = connectionLimit(descriptorLimit());
    // Streams are not closed for other clients, so they must leave connections to them.
    this.#hub = new StreamHub({
      log: events,
      maxClients: Math.min(MAX_STREAMS, Math.floor(connections / 2)),
    });
    const catalogue = new Catalogue({
      model: this.model,
      processMetrics: !config['web.disable-exporter-metrics'],
    });
    this.#addOwnFamilies(catalogue, events);

    const failures = new Throttle({ clock, everyMs: 10_000 });
    this.#hostErrors = new Throttle({ clock, everyMs: 60_000 });
    this.#pipeline = new Pipeline({
      source: this.#watched(source),
      model: this.model,
      onFailure: (failure, error) => {
        const held = failures.pass();
        if (held === undefined) return;
        if (error === undefined) logger.warn({ failure, held }, 'a line of the stream could not be read');
        else
          logger.error(
            { err: error, failure, held },
            'a line of the stream was not taken in: this is a defect',
          );
      },
      onSubscriberError: (error) => {
        this.#subscriberErrors += 1;
        logger.error({ err: error }, 'a subscriber of the events failed');
      },
    });
    this.#pipeline.subscribe((event) => events.append(event));
    const rejections = new Throttle({ clock, everyMs: 60_000 });
    this.#hosts = new HostNames({
      addresses: config['web.listen-address'],
      allowed: config['web.allowed-hosts'],
      onUnknown: (host) => {
        const held = rejections.pass();
        if (held === undefined) return;
        const remedy = 'if that is a name of this server, add it to web.allowed-hosts';
        logger.warn({ host, remedy, not_logged: held }, 'rejected a request for another host');
      },
    });
    this.app = createApp({
      model: this.model,
      metrics: catalogue,
      events,
      hub: this.#hub,
      readiness: () => this.readiness(),
      telemetryPath: config['web.telemetry-path'],
      maxRequests: config['web.max-requests'],
      scrapes: this.#scrapes,
      hosts: this.#hosts,
      logger,
      ...(options.web === undefined ? {} : { web: options.web }),
    });
    this.server = new HttpServer({
      app: this.app,
      addresses: config['web.listen-address'],
      telemetryPath: config['web.telemetry-path'],
      limits: { connections },
      logger,
      clock,
    });
  }

  /** Serves first, then reads: `up 0` and `not ready` are answers too. */
  async start(): Promise<void> {
    await this.server.start();
    // A name service that does not answer must not delay the tracer.
    if (!this.server.loopbackOnly) void this.#hosts.addOwnNames();
    this.#reading = this.#pipeline.run(this.#abort.signal);
    this.#reading.then(() => this.#sourceEnded(), this.#fail);
    if (this.#options.source.kind === 'live') this.#noteState();
  }

  /** Resolves when the signal asks for the stop; rejects with what ended the daemon before, also if that is past. */
  async untilStopped(signal: AbortSignal): Promise<void> {
    const asked = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([asked, this.#failed]);
  }

  readiness(): Readiness {
    const status = this.model.status();
    const { clock, config } = this.#options;
    const { lastReadAt } = this.model.accounting;
    return readinessOf({
      status,
      counterAgeUs: lastReadAt === null ? null : clock.bootUs() - this.#streamOffsetUs - lastReadAt,
      staleAfterS: config['stale-after'],
      replayed: this.#replayed,
      stopping: this.#stopped !== undefined,
    });
  }

  /** Source and child, then what they still sent, then the streams, then the server: all under one deadline. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { logger, clock, stopMs = 10_000, killAfter } = this.#options;
    // Every other deadline needs the event loop.
    const callOff = killAfter?.(stopMs + GRACE_MS);
    const end = clock.bootUs() / 1000 + stopMs;
    const left = (): number => end - clock.bootUs() / 1000;
    this.#abort.abort('stop');
    const reading = (this.#reading ?? Promise.resolve()).catch((error: unknown) => {
      logger.debug({ err: error }, 'the source ended with an error');
    });
    // A part of the time is kept for the clients: they shall see their streams end.
    if (!(await withinDeadline(reading, left() - stopMs / 10))) {
      logger.error('the collector did not stop in time; it is left behind');
    }
    if (!(await withinDeadline(this.server.stop(), left()))) {
      logger.warn('some clients did not take their answers in time; they are cut off');
      this.server.abandon();
    }
    callOff?.();
    logger.info('stopped');
  }

  /** The source with an eye on what it says of the child, so that each change of state is logged once, when it comes. */
  #watched(source: LineSource): LineSource {
    if (source.kind === 'replay') return source;
    return {
      kind: source.kind,
      name: source.name,
      run: (onLine, signal, onDropped) =>
        source.run(
          (line) => {
            onLine(line);
            this.#noteHeader();
            if (line.startsWith('{"type":"host_error"')) this.#noteHostError(line);
            if (line.includes('"child"') || this.#state !== 'tracing') this.#noteState();
          },
          signal,
          onDropped,
        ),
    };
  }

  #noteHeader(): void {
    const { headerEpochUs } = this.model;
    if (headerEpochUs === this.#headerEpochUs) return;
    const { clock } = this.#options;
    this.#headerEpochUs = headerEpochUs;
    this.#streamOffsetUs = headerEpochUs - (clock.wallMs() * 1000 - clock.bootUs());
  }

  #noteHostError(line: string): void {
    const record = decodeLine(line);
    if (record.type !== 'host_error') return;
    const held = this.#hostErrors.pass();
    if (held === undefined) return;
    const { source, count, message } = record.data;
    this.#options.logger.warn(
      { source, count, held },
      `a read of the host failed, and is tried again: ${message}`,
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
    logger.info({ recording: source.name }, 'the recording is read');
  }

  #noteState(): void {
    const { state, problem, dialect, generation } = this.model.collection;
    if (state === this.#state) return;
    this.#state = state;
    const { logger, config } = this.#options;
    const told = { state, dialect, generation };
    if (state !== 'unavailable') {
      if (problem === null || state === 'tracing') logger.info(told, `collection: ${state}`);
      else {
        const fix = problem.remedy === null ? {} : { remedy: problem.remedy };
        logger.warn({ ...told, reason: problem.reason, ...fix }, `collection: ${state}: ${problem.message}`);
      }
      return;
    }
    const message = `this host cannot be traced: ${problem?.message ?? 'no reason was given'}`;
    const remedy = problem?.remedy ?? undefined;
    if (config.strict) {
      const detail = remedy === undefined ? {} : { remedy };
      this.#fail(new TracerError('host_untraceable', message, detail));
    } else {
      logger.error({ ...told, reason: problem?.reason, remedy }, message);
    }
  }

  #addOwnFamilies(catalogue: Catalogue, events: EventLog): void {
    catalogue.add({
      name: 'events_dropped_total',
      help: 'Events that this server dropped after it had counted them.',
      type: 'counter',
      samples: () => [
        { labels: { stage: 'event_log' }, value: events.dropped },
        { labels: { stage: 'sse' }, value: this.#hub.dropped },
        { labels: { stage: 'subscriber' }, value: this.#subscriberErrors },
      ],
    });
    catalogue.add({
      name: 'stream_clients',
      help: 'Clients of /api/v1/stream.',
      type: 'gauge',
      samples: () => [{ labels: {}, value: this.#hub.clients }],
    });
    catalogue.add({
      name: 'stream_clients_rejected_total',
      help: 'Clients of /api/v1/stream that got a 503 (full) or were disconnected because they read nothing for a minute (stalled).',
      type: 'counter',
      samples: () => [
        { labels: { reason: 'full' }, value: this.#hub.rejected },
        { labels: { reason: 'stalled' }, value: this.#hub.stalled },
      ],
    });
    catalogue.add({
      name: 'scrapes_rejected_total',
      help: 'Scrapes that got a 503 because of web.max-requests.',
      type: 'counter',
      samples: () => [{ labels: {}, value: this.#scrapes.rejected }],
    });
    catalogue.add({
      name: 'http_connections',
      help: 'Open connections of HTTP clients.',
      type: 'gauge',
      samples: () => [{ labels: {}, value: this.server.connections.size }],
    });
    catalogue.add({
      name: 'http_connections_dropped_total',
      help: 'Connections of HTTP clients that the server closed: an idle one at the limit of connections (limit), one that did not take an answer in 30 s (slow) or while too many bytes waited (memory), one with too many requests that wait (pipelining).',
      type: 'counter',
      samples: () => byKey('reason', this.server.connections.dropped),
    });
    const { recorder } = this.#options;
    if (recorder === undefined) return;
    catalogue.add({
      name: 'recording_lines_dropped_total',
      help: 'Lines of the stream that are missing in the recording because its file was too slow or could not be written. Absent where nothing is recorded.',
      type: 'counter',
      samples: () => [{ labels: {}, value: recorder.dropped }],
    });
    catalogue.add({
      name: 'recording_up',
      help: '1 while the recording can be written, 0 after its file has failed, for example on a full disk: then it has ended. Absent where nothing is recorded.',
      type: 'gauge',
      samples: () => [{ labels: {}, value: (recorder.error ?? null) === null ? 1 : 0 }],
    });
  }
}
