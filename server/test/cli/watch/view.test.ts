import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIRST_VIEW, keysOf, press, type View } from '../../../src/cli/watch/view.ts';

/** The first view after these keys, on a screen that shows 5 of 20 rows; null if a key quits. */
function after(...keys: string[]): View | null {
  let view: View | null = FIRST_VIEW;
  for (const key of keys) {
    assert.ok(view !== null, 'the view has already quit');
    view = press(view, key, 5, 15);
  }
  return view;
}

test('a chunk is split into whole keys', () => {
  assert.deepEqual(keysOf('/a\x1b[A\x1b[5~\x1bOB\r\x1b'), [
    '/',
    'a',
    '\x1b[A',
    '\x1b[5~',
    '\x1bOB',
    '\r',
    '\x1b',
  ]);
  assert.deepEqual(keysOf('仮😀'), ['仮', '😀']);
});

test('q and Ctrl-C quit, but q is a letter while a filter is typed', () => {
  assert.equal(after('q'), null);
  assert.equal(after('\x03'), null);
  assert.equal(after('/', 'q')?.filter, 'q');
  assert.equal(after('/', '\x03'), null);
});

test('a filter can be typed, corrected, kept and cleared', () => {
  assert.deepEqual(after('/', 'w', 'x', '\x7f', 'é', '\x1b[A', '\t'), {
    ...FIRST_VIEW,
    typing: true,
    filter: 'wé',
  });
  assert.deepEqual(after('/', 'w', '\r'), { ...FIRST_VIEW, filter: 'w' });
  assert.deepEqual(after('/', 'w', '\r', '\x1b'), FIRST_VIEW);
  assert.deepEqual(after('/', 'w', '\x1b'), FIRST_VIEW);
  assert.equal(after('/', 'a', 'b', '\x15')?.filter, '');
});

test('scrolling stays within the table', () => {
  assert.equal(after('\x1b[B', '\x1b[B', 'j', '\x1b[A')?.scroll, 2);
  assert.equal(after('\x1bOB', 'j', 'k')?.scroll, 1);
  assert.equal(after('\x1b[A')?.scroll, 0);
  assert.equal(after('\x1b[6~', '\x1b[6~')?.scroll, 10);
  assert.equal(after('\x1b[6~', '\x1b[6~', '\x1b[6~', '\x1b[6~')?.scroll, 15);
  assert.equal(after('\x1b[F')?.scroll, 15);
  assert.equal(after('\x1b[F', '\x1b[5~', '\x1b[H')?.scroll, 0);
  assert.equal(after('\x1b[F', '/', 'a')?.scroll, 0);
});

test('? shows the help and hides it again', () => {
  assert.equal(after('?')?.help, true);
  assert.equal(after('?', '?')?.help, false);
  assert.equal(after('?', '\x1b')?.help, false);
  assert.equal(after('?', '/')?.help, false);
});
