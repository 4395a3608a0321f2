import { Banners } from '../banners/banners.tsx';
import { BufferDialog } from '../buffers/buffer-dialog.tsx';
import { BuffersSection } from '../buffers/buffers-section.tsx';
import type { PageStore } from '../data/page-store.ts';
import { HeadlineSection } from '../headline/headline-section.tsx';
import { IncidentsSection } from '../incidents/incidents-section.tsx';
import { ProbesSection } from '../probes/probes-section.tsx';
import { RatesSection } from '../rates/rates-section.tsx';
import { RejectionsSection } from '../rejections/rejections-section.tsx';
import { TopologySection } from '../topology/topology-section.tsx';
import { PageFoot } from './page-foot.tsx';

const PARTS = [
  ['incidents', 'Incidents'],
  ['topology', 'Who shares with whom'],
  ['buffers', 'Buffers'],
  ['rejections', 'Rejections'],
  ['rates', 'Rates'],
  ['probes', 'Probes'],
] as const;

export function PageLayout({ store, metrics }: { store: PageStore; metrics: string }) {
  return (
    <>
      <button type="button" class="skip" onClick={(event) => jump(event, 'main')}>
        Skip to the state of this host
      </button>
      <header class="top">
        <span class="name">vfio-dmabuf-tracer</span>
        <nav aria-label="Parts of this page">
          {PARTS.map(([id, title]) => (
            <button type="button" key={id} onClick={(event) => jump(event, id)}>
              {title}
            </button>
          ))}
        </nav>
      </header>
      <main id="main" tabIndex={-1}>
        <Banners store={store} />
        <HeadlineSection store={store} />
        <TopologyAndIncidents store={store} />
        <BuffersSection store={store} />
        <RejectionsSection store={store} />
        <RatesSection store={store} />
        <ProbesSection store={store} />
      </main>
      <PageFoot store={store} metrics={metrics} />
      <BufferDialog store={store} />
    </>
  );
}

/** In two columns if both have content. */
function TopologyAndIncidents({ store }: { store: PageStore }) {
  const both = store.incidents.value?.incidents.length !== 0 && store.topology.value.nodes.length > 0;
  return (
    <div class={both ? 'columns' : 'columns single'}>
      <TopologySection store={store} />
      <IncidentsSection store={store} />
    </div>
  );
}

/** Scrolls without changing the address, which contains the view. */
function jump(event: Event, id: string): void {
  event.preventDefault();
  const target = document.getElementById(id);
  target?.scrollIntoView();
  target?.focus({ preventScroll: true });
}
