import { Banners } from './banners.tsx';
import { BufferDialog } from './buffer-dialog.tsx';
import { Buffers } from './buffers.tsx';
import { Feed } from './feed.tsx';
import { Foot } from './foot.tsx';
import { HeadlineSection } from './headline-section.tsx';
import { IncidentsSection } from './incidents-section.tsx';
import { Plots } from './plots.tsx';
import { Probes } from './probes.tsx';
import type { Store } from './store.ts';
import { TopologySection } from './topology-section.tsx';

const PARTS = [
  ['incidents', 'Incidents'],
  ['topology', 'Who shares with whom'],
  ['buffers', 'Buffers'],
  ['rejections', 'Rejections'],
  ['rates', 'Rates'],
  ['probes', 'Probes'],
] as const;

export function App({ store, metrics }: { store: Store; metrics: string }) {
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
        <Buffers store={store} />
        <Feed store={store} />
        <Plots store={store} />
        <Probes store={store} />
      </main>
      <Foot store={store} metrics={metrics} />
      <BufferDialog store={store} />
    </>
  );
}

/** In two columns if both have content. */
function TopologyAndIncidents({ store }: { store: Store }) {
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
