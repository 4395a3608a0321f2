export const STATE_FILTERS = ['existing', 'live', 'revoked', 'released'] as const;
export const PRIVACY_FILTERS = ['any', 'private', 'shared', 'undeclared'] as const;
export const SORTS = ['age', 'size', 'device', 'owner', 'vm', 'importers', 'state'] as const;
export type Sort = (typeof SORTS)[number];

/** What the page shows, as the part of its address after the #. */
export interface PageView {
  buffer: number | null;
  incident: number | null;
  reason: string | null;
  /** PCI address of the rejections and events that are shown. */
  device: string | null;
  text: string;
  state: (typeof STATE_FILTERS)[number];
  privacy: (typeof PRIVACY_FILTERS)[number];
  sort: Sort;
  descending: boolean;
  feed: 'rejected' | 'all';
}

export const DEFAULT_VIEW: PageView = {
  buffer: null,
  incident: null,
  reason: null,
  device: null,
  text: '',
  state: 'existing',
  privacy: 'any',
  sort: 'age',
  descending: false,
  feed: 'rejected',
};

/** Ignores what it does not know: an address may come from another version, or be typed by hand. */
export function parseView(hash: string): PageView {
  const parameters = new URLSearchParams(hash.replace(/^#/, ''));
  const number = (name: string): number | null => {
    const value = parameters.get(name) ?? '';
    return /^\d{1,15}$/.test(value) ? Number(value) : null;
  };
  const one = <T extends string>(name: string, known: readonly T[], otherwise: T): T => {
    const value = parameters.get(name);
    return known.find((option) => option === value) ?? otherwise;
  };
  const reason = parameters.get('reason') ?? '';
  const device = parameters.get('device') ?? '';
  const sort = parameters.get('sort') ?? '';
  return {
    buffer: number('buffer'),
    incident: number('incident'),
    reason: /^[a-z0-9_]{1,40}$/.test(reason) ? reason : null,
    device: /^[0-9a-f:.]{7,16}$|^unknown$/.test(device) ? device : null,
    text: (parameters.get('q') ?? '').slice(0, 200),
    state: one('state', STATE_FILTERS, 'existing'),
    privacy: one('privacy', PRIVACY_FILTERS, 'any'),
    sort: SORTS.find((option) => option === sort.replace(/^-/, '')) ?? 'age',
    descending: sort.startsWith('-'),
    feed: one('feed', ['rejected', 'all'], 'rejected'),
  };
}

/** The shortest address of a view. */
export function viewHash(view: PageView): string {
  const parameters = new URLSearchParams();
  const set = (name: string, value: string | number | null, otherwise: string | null = null): void => {
    if (value !== null && value !== otherwise) parameters.set(name, String(value));
  };
  set('buffer', view.buffer);
  set('incident', view.incident);
  set('reason', view.reason);
  set('device', view.device);
  set('q', view.text, '');
  set('state', view.state, 'existing');
  set('privacy', view.privacy, 'any');
  set('sort', `${view.descending ? '-' : ''}${view.sort}`, 'age');
  set('feed', view.feed, 'rejected');
  return parameters.toString();
}
