import { render } from 'preact';
import { PageStore } from './data/page-store.ts';
import { StoreUpdater } from './data/store-updater.ts';
import { PageLayout } from './layout/page-layout.tsx';

const root = document.getElementById('page');
if (root !== null) {
  const store = new PageStore(window);
  const updater = new StoreUpdater(store);
  store.start();
  updater.start();
  let drawn = false;
  // The page that the server rendered stays until the first status arrives.
  store.status.subscribe((status) => {
    if (status === null || drawn) return;
    drawn = true;
    root.replaceChildren();
    render(<PageLayout store={store} metrics={root.dataset.metrics ?? 'metrics'} />, root);
  });
  let { state } = store.view.peek();
  store.view.subscribe((view) => {
    if (view.state === state) return;
    state = view.state;
    updater.viewChanged();
  });
}
