import { render } from 'preact';
import { App } from './app.tsx';
import { Live } from './live.ts';
import { Store } from './store.ts';

const root = document.getElementById('page');
if (root !== null) {
  const store = new Store(window);
  const live = new Live(store);
  store.start();
  live.start();
  let drawn = false;
  // The page that the server rendered stays until the first status arrives.
  store.status.subscribe((status) => {
    if (status === null || drawn) return;
    drawn = true;
    root.replaceChildren();
    render(<App store={store} metrics={root.dataset.metrics ?? 'metrics'} />, root);
  });
  let { state } = store.view.peek();
  store.view.subscribe((view) => {
    if (view.state === state) return;
    state = view.state;
    live.viewChanged();
  });
}
