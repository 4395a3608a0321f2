export const STATE_FILTERS = ['existing', 'live', 'revoked', 'released'] as const;
export const PRIVACY_FILTERS = ['any', 'private', 'shared', 'undeclared'] as const;
export const SORTS = ['age', 'size', 'device', 'owner', 'vm', 'importers', 'state'] as const;
export type Sort = (typeof SORTS)[number];

/** What of the page is shown, as it stands behind the # of its address. */
export interface View {
  buffer: number | null;
  incident: number | null;
  reason: string | null;
  text: string;
  state: (typeof STATE_FILTERS)[number];
  privacy: (typeof PRIVACY_FILTERS)[number];
  sort: Sort;
  descending: boolean;
  feed: 'rejected' | 'all';
}

export const DEFAULT_VIEW: View = {
  buffer: null,
  incident: null,
  reason: null,
  text: '',
  state: 'existing',
  privacy: 'any',
  sort: 'age',
  descending: false,
  feed: 'rejected',
};

/** What it does not know it leaves out: an address may be of another version, or typed by hand. */
export function parseView(hash: string): View {
  const words = new URLSearchParams(hash.replace(/^#/, ''));
  const number = (name: string): number | null => {
    const value = words.get(name) ?? '';
    return /^\d{1,15}$/.test(value) ? Number(value) : null;
  };
  const one = <T extends string>(name: string, known: readonly T[], otherwise: T): T => {
    const value = words.get(name);
    return known.find((word) => word === value) ?? otherwise;
  };
  const reason = words.get('reason') ?? '';
  const sort = words.get('sort') ?? '';
  return {
    buffer: number('buffer'),
    incident: number('incident'),
    reason: /^[a-z0-9_]{1,40}$/.test(reason) ? reason : null,
    text: (words.get('q') ?? '').slice(0, 200),
    state: one('state', STATE_FILTERS, 'existing'),
    privacy: one('privacy', PRIVACY_FILTERS, 'any'),
    sort: SORTS.find((word) => word === sort.replace(/^-/, '')) ?? 'age',
    descending: sort.startsWith('-'),
    feed: one('feed', ['rejected', 'all'], 'rejected'),
  };
}

/** The shortest address that shows this. */
export function viewHash(view: View): string {
  const words = new URLSearchParams();
  const set = (name: string, value: string | number | null, otherwise: string | null = null): void => {
    if (value !== null && value !== otherwise) words.set(name, String(value));
  };
  set('buffer', view.buffer);
  set('incident', view.incident);
  set('reason', view.reason);
  set('q', view.text, '');
  set('state', view.state, 'existing');
  set('privacy', view.privacy, 'any');
  set('sort', `${view.descending ? '-' : ''}${view.sort}`, 'age');
  set('feed', view.feed, 'rejected');
  return words.toString();
}
