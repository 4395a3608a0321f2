import { count, duration, number } from '../../src/contract/format.ts';
import type { PageStore } from '../data/page-store.ts';

const LINKS = [
  ['-/ready', 'readiness'],
  ['api/v1/status', 'status'],
  ['api/v1/buffers', 'buffers'],
  ['api/v1/rejections', 'rejections'],
  ['api/v1/incidents', 'incidents'],
  ['api/v1/topology', 'topology'],
  ['api/v1/events', 'events'],
  ['api/v1/history', 'history'],
  ['api/v1/probes', 'probes'],
  ['api/v1/reasons', 'all reasons'],
] as const;

/** The path of the metrics is a setting of the server. */
export function PageFoot({ store, metrics }: { store: PageStore; metrics: string }) {
  const status = store.status.value;
  if (status === null) return null;
  return (
    <footer>
      <p>
        {count(status.events_received, 'event')} received of {number(status.events_emitted)} printed,{' '}
        {count(status.restarts, 'restart')} of bpftrace, {duration(status.blind_seconds)} blind. Version{' '}
        {status.version}.
      </p>
      <nav aria-label="The same for programs">
        <a href={metrics}>metrics</a>
        {LINKS.map(([path, name]) => (
          <a key={path} href={path}>
            {name}
          </a>
        ))}
      </nav>
    </footer>
  );
}
