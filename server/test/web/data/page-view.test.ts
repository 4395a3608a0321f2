import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_VIEW, parseView, viewHash } from '../../../web/data/page-view.ts';

test('a view survives its URL hash, and invalid values in a hash are ignored', () => {
  const view = { ...DEFAULT_VIEW, buffer: 7, text: 'a b&c#d', state: 'revoked', descending: true } as const;
  assert.deepEqual(parseView(`#${viewHash(view)}`), view);
  assert.equal(viewHash(DEFAULT_VIEW), '');
  assert.deepEqual(parseView(''), DEFAULT_VIEW);
  assert.deepEqual(parseView('#buffer=-1&reason=<b>&state=odd&sort=nothing&incident=1e9&x=y'), DEFAULT_VIEW);
  assert.deepEqual(parseView('#reason=not_revocable').reason, 'not_revocable');
});
