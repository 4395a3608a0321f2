import type { TestContext } from 'node:test';
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler';
import type { onRouteHookHandler } from 'fastify';
import { pino } from 'pino';
import type { KernelEvent } from '../../src/contract/events.ts';
import { createApp } from '../../src/http/app.ts';
import { HostNames } from '../../src/http/hosts.ts';
import type { AppOptions } from '../../src/http/plugin.ts';
import { StreamHub } from '../../src/http/sse/hub.ts';
import { Catalogue } from '../../src/metrics/catalogue.ts';
import type { LineSource } from '../../src/protocol/source.ts';
import { streamLine } from '../../src/protocol/stream-line.ts';
import { EventLog } from '../../src/sinks/event-log.ts';
import { Pipeline } from '../../src/tracer/pipeline.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';
import {
  counterRead,
  eventLine,
  exported,
  HEADER,
  heartbeat,
  imported,
  ready,
  released,
  starting,
} from '../fixtures/stream-lines.ts';

/** Four exports (one rejected), an accepted and a rejected import stage, a revocation and a release. */
export const STREAM: readonly string[] = [
  HEADER,
  starting(1_000_000, 1),
  ready(1_100_000),
  exported({ t: 2_000_000, inode: 7, privacy: 'private' }),
  imported({ t: 2_100_000, inode: 7, stage: 'attach', importer: 'mlx5_core' }),
  imported({ t: 2_200_000, inode: 7, stage: 'map', importer: 'mlx5_core', errno: 19, reason: 'revoked' }),
  exported({ t: 2_300_000, inode: 8, device: 0x4200 }),
  exported({ t: 2_400_000, inode: 0, bytes: 0, errno: 22, reason: 'no_ranges' }),
  eventLine('buffer_state', { t: 2_500_000, device: 0x4200, inode: 8 }),
  exported({ t: 2_600_000, inode: 9 }),
  released(2_700_000, 9),
  heartbeat(3_000_000, 8),
  ...counterRead(3_000_000, {
    exports: { [`${0x4100},2`]: 1, [`${0x4100},1`]: 1, [`${0x4200},1`]: 1 },
    emitted: 8,
  }),
];

export interface Built {
  app: ReturnType<typeof createApp>;
  model: TracerModel;
  log: EventLog;
  hub: StreamHub;
}

export interface BuildOptions extends Partial<AppOptions> {
  keep?: number;
  maxClients?: number;
  heartbeatMs?: number;
  lines?: readonly string[];
  /** The source that the model reads instead of the lines. */
  source?: LineSource;
  onRoute?: onRouteHookHandler;
}

type Serializer = (data: unknown) => string;
const serializers = new WeakMap<object, Serializer>();
/** Fastify's compiler. It needs 0.3 s of CPU time for all routes, so all apps of a process share the serializers. */
const compile = SerializerSelector()({}, {}) as (route: { schema: object }) => Serializer;
function compileOnce(route: { schema: unknown }): Serializer {
  const schema = route.schema as object;
  const serializer = serializers.get(schema) ?? compile({ ...route, schema });
  serializers.set(schema, serializer);
  return serializer;
}

/** An app whose model has applied the lines. It is closed when the test ends. */
export async function build(t: TestContext, options: BuildOptions = {}): Promise<Built> {
  const {
    keep = 100,
    maxClients = 64,
    heartbeatMs = 60_000,
    lines = STREAM,
    onRoute,
    ...overrides
  } = options;
  const model = new TracerModel({ version: '1.2.3', source: { kind: 'live', name: 'bpftrace' } });
  const log = new EventLog({ keep, id: 'log1' });
  const hub = new StreamHub({ log, maxClients, heartbeatMs });
  const pipeline = new Pipeline({
    model,
    source: options.source ?? {
      kind: 'live',
      name: 'bpftrace',
      run: async (onLine) => lines.forEach((line) => void onLine(streamLine(line))),
    },
  });
  pipeline.subscribe((event) => log.append(event));
  await pipeline.run(new AbortController().signal);
  const app = createApp({
    model,
    metrics: new Catalogue({ model, processMetrics: false }),
    events: log,
    hub,
    readiness: () => ({ ready: true }),
    telemetryPath: '/metrics',
    maxRequests: 40,
    scrapes: { rejected: 0 },
    hosts: new HostNames({ addresses: [], allowed: [] }),
    logger: pino({ level: 'silent' }),
    ...overrides,
  });
  app.setSerializerCompiler(compileOnce);
  if (onRoute !== undefined) app.addHook('onRoute', onRoute);
  t.after(() => app.close());
  return { app, model, log, hub };
}

export function releaseEvent(seq: number): KernelEvent {
  const time = new Date(seq).toISOString();
  return { seq, time, boot_us: seq, pid: 1, comm: 'c', kind: 'release', device: '0000:41:00.0', inode: seq };
}
