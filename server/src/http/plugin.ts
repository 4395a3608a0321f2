import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, FastifyPluginCallback, RawServerDefault } from 'fastify';
import type { ReloadResult } from '../config/live-config.ts';
import type { FamilySource } from '../metrics/exposition.ts';
import type { EventLog } from '../sinks/event-log.ts';
import type { TracerModel } from '../tracer/tracer.ts';
import type { HostNames } from './hosts.ts';
import type { Readiness } from './readiness.ts';
import type { StreamHub } from './sse/hub.ts';
import type { Access } from './web/access.ts';
import type { WebFiles } from './web-files.ts';

/** Counters of the scrape endpoint. The metrics export them. */
export interface ScrapeCounters {
  /** Scrapes that were rejected because the limit web.max-requests was reached. */
  rejected: number;
}

/** What the routes read. The caller owns all of it. */
export interface AppOptions {
  model: TracerModel;
  metrics: FamilySource;
  events: EventLog;
  hub: StreamHub;
  readiness: () => Readiness;
  telemetryPath: string;
  /** Scrapes answered at the same time; 0 means no limit. */
  maxRequests: number;
  scrapes: ScrapeCounters;
  /** Names that the Host header of a request may contain. */
  hosts: HostNames;
  /** Users and rate limit of the web configuration file. Undefined: every request is allowed. */
  access?: Access;
  /** Reloads the settings. Undefined: web.enable-lifecycle is off. */
  reload?: () => Promise<ReloadResult>;
  logger: FastifyBaseLogger;
  /** The built page. Without it `/` contains only the facts and the links. */
  web?: WebFiles;
}

export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;
export type AppPlugin = FastifyPluginCallback<
  AppOptions,
  RawServerDefault,
  TypeBoxTypeProvider,
  FastifyBaseLogger
>;

declare module 'fastify' {
  interface FastifyInstance {
    /** Paths that answer GET. Hints and the page list them. */
    paths: string[];
  }
}
