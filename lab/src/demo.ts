import { setTimeout as sleep } from 'node:timers/promises';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { TracerEvent } from '../../server/src/contract/events.ts';
import { explain } from '../../server/src/reference/catalogue.ts';
import { USUAL_KERNEL } from './cells.ts';
import { Lab } from './lab.ts';
import { changed, total } from './samples.ts';
import { PLAIN, RESETTABLE } from './scenarios/names.ts';

export const DEMO_PORT = 10043;

/** The sessions that the demo repeats. Each entry is one run of the workload `session`, the VMM stand-in. */
export const PASS: readonly { title: string; steps: readonly string[] }[] = [
  {
    title: 'a VM exports a BAR, iommufd maps it, vgem is rejected',
    steps: [
      'vm=a',
      `device=${RESETTABLE},vm=a`,
      'export=2,0:65536',
      'iommufd=0',
      'vgem=0',
      'sleep=2',
      'iommufd-unmap=0',
      'close=0',
    ],
  },
  {
    title: 'the kernel rejects a range beyond the BAR; iommufd rejects a buffer of two valid ranges',
    steps: [
      `device=${RESETTABLE}`,
      'export=2,0:4096,4194304:4096',
      'export=2,0:4096,8192:4096',
      'iommufd=0',
      'close=0',
    ],
  },
  {
    title:
      'memory decode off and on: the buffer is revoked, an import rejected, the mapping lost until it is remapped',
    steps: [
      `device=${RESETTABLE}`,
      'export=2,0:65536',
      'iommufd=0',
      'memory=off',
      'iommufd=0',
      'sleep=2',
      'memory=on',
      'iommufd-unmap=0',
      'iommufd=0',
      'sleep=1',
      'close=0',
    ],
  },
  { title: 'a device reset', steps: [`device=${RESETTABLE}`, 'export=2,0:4096', 'reset', 'close=0'] },
  {
    title:
      'KVM binds a private buffer for its own VM, rejects it for another VM, and rejects a shared buffer',
    steps: [
      'vm=a',
      'vm=b',
      `device=${PLAIN},vm=a`,
      'export=2,0:65536',
      'bind=0,vm=a',
      'bind=0,vm=b',
      'unbind=0',
      `device=${RESETTABLE}`,
      'export=2,0:4096',
      'bind=1,vm=a',
      'close=0',
      'close=1',
    ],
  },
  {
    title: 'a bind of a foreign buffer that reports success is a policy violation',
    steps: ['vm=a', 'udmabuf=4096', 'bind=0,vm=a,stale=0'],
  },
];

export interface DemoOptions {
  once: boolean;
  log(line: string): void;
}

/** An event as one line for the terminal. */
function describe(event: TracerEvent): string {
  const time = event.time.slice(11, 23);
  if (event.kind === 'incident') return `${time} incident ${event.change}: ${event.incident.sentence}`;
  const who = `${event.comm}[${event.pid}]`;
  const why = 'reason' in event ? explain(event.reason) : undefined;
  const verdict = why === undefined ? 'ok' : `REJECTED: ${why.name}: ${why.what}`;
  switch (event.kind) {
    case 'export':
      return `${time} export   ${event.device} BAR ${event.region} ${event.bytes} bytes ${event.privacy} by ${who}: ${verdict}`;
    case 'import':
      return `${time} import   ${event.device} into ${event.importer} (${event.stage}) by ${who}: ${verdict}`;
    case 'bind':
      return `${time} bind     ${event.device} into kvm by ${who}: ${event.violation === 'none' ? verdict : `VIOLATION: ${event.violation}: ${explain(event.violation)?.what}`}`;
    case 'private_read':
      return `${time} get_data ${event.device} for ${event.reader}: ${verdict}`;
    case 'buffer_state':
      return `${time} ${event.revoked ? 'revoked ' : 'restored'} ${event.device} ${event.cause}, mappings lost: ${event.lost_mappings}`;
    case 'revoke_call':
      return `${time} revoke   ${event.device} took ${(event.duration_ns / 1e6).toFixed(3)} ms for ${event.buffers} buffer(s)`;
    case 'zap':
      return `${time} zap      ${event.device} took ${(event.duration_ns / 1e6).toFixed(3)} ms`;
    case 'release':
    case 'late_release':
    case 'detach':
    case 'unmap':
    case 'unbind':
      return `${time} ${event.kind.padEnd(8)} ${event.device}`;
    default:
      return event satisfies never;
  }
}

/** Prints events from the server's event stream until aborted. */
async function follow(lab: Lab, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${lab.url}/api/v1/stream`, { signal });
  const messages = response.body
    ?.pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream());
  for await (const { data } of messages ?? []) {
    const event = JSON.parse(data) as Partial<TracerEvent>;
    // The messages `dropped` and `reset` have no kind.
    if (event.kind !== undefined) console.log(`        ${describe(event as TracerEvent)}`);
  }
}

/** Boots a guest whose daemon is reachable on 127.0.0.1 and makes its kernel export, reject and revoke. */
export async function demo({ once, log }: DemoOptions): Promise<number> {
  const stop = new AbortController();
  const lab = await Lab.tracing({
    suite: 'trixie',
    kernel: USUAL_KERNEL,
    dialect: 'private-v1',
    log,
    ...(once ? {} : { port: DEMO_PORT }),
  });
  const end = (): void => stop.abort();
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  try {
    await lab.command(`echo ${PLAIN} >/sys/module/vfio_pci_core/parameters/private_devices`);
    console.log(
      `\n  The daemon traces a real kernel. Open\n\n    ${lab.url}/\n    ${lab.url}/metrics\n    ${lab.url}/api/v1/buffers\n` +
        `\n  The private dialect in this kernel is the lab's stand-in for the posted patches. The rest of the kernel is\n  the distribution's.${once ? '' : ' Ctrl-C stops the demo.'}\n`,
    );
    await lab.settle();
    const before = await lab.samples();
    const following = follow(lab, stop.signal).catch(() => undefined);
    do {
      for (const { title, steps } of PASS) {
        if (stop.signal.aborted) break;
        log(title);
        await lab.session(...steps);
        await sleep(once ? 0 : 2000, undefined, { signal: stop.signal }).catch(() => undefined);
      }
    } while (!once && !stop.signal.aborted);
    if (!once) return 0;
    await lab.settle();
    const after = await lab.samples();
    stop.abort();
    await following;
    const delta = changed(before, after);
    console.log('\n  Metrics that changed (vfio_dmabuf_…):');
    for (const [key, value] of Object.entries(delta))
      console.log(`    ${key} ${value > 0 ? '+' : ''}${value}`);
    const grown = new Map(Object.entries(delta));
    const exports = total(grown, 'exports_total');
    const rejections = total(grown, 'import_rejections_total');
    console.log(`\n  The tracer counted ${exports} exports and ${rejections} import rejections.`);
    return exports > 0 && rejections > 0 ? 0 : 1;
  } finally {
    stop.abort();
    await lab.close();
  }
}
