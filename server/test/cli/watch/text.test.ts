import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import stringWidth from 'string-width';
import { fit, fold } from '../../../src/cli/text.ts';
import { type Column, layOut } from '../../../src/cli/watch/table.ts';
import { neutral } from '../../../src/lib/neutral.ts';
import { EVIL_NAME } from '../../fixtures/watch-stream.ts';

test('control characters are replaced with a visible character', () => {
  assert.equal(neutral(EVIL_NAME), 'evil\ufffd]0;owned\ufffd\ufffd[2J\ufffdvm');
  assert.equal(neutral('a\u009b31mb\u200bc\ud800d'), 'a\ufffd31mb\ufffdc\ufffdd');
  assert.equal(neutral('仮想 é ok'), '仮想 é ok');
});

test('a neutral text has no control characters, for any input', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.doesNotMatch(neutral(text), /[\p{Cc}\p{Cf}\p{Cs}]/u);
    }),
  );
});

test('a fitted text has the given width, also with wide characters', () => {
  assert.equal(fit('abc', 5), 'abc  ');
  assert.equal(fit('abcdef', 5), 'abcd…');
  assert.equal(fit('仮想機械', 6), '仮想… ');
  assert.equal(fit('仮想機械', 8), '仮想機械');
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme' }).map(neutral),
      fc.integer({ min: 0, max: 30 }),
      (text, width) => {
        assert.equal(stringWidth(fit(text, width)), width);
      },
    ),
  );
});

test('a text is folded between words', () => {
  assert.deepEqual(fold('one two three four five six seven', 20), ['one two three four', 'five six seven']);
  assert.deepEqual(fold('one two', undefined), ['one two']);
});

const COLUMNS: readonly Column<[string, string, string]>[] = [
  { title: 'A', rank: 2, most: 10, least: 3, text: ([a]) => a },
  { title: 'B', rank: 1, most: 5, least: 5, right: true, text: ([, b]) => b },
  { title: 'C', rank: 3, most: 20, least: 4, text: ([, , c]) => c },
];
const ROWS: [string, string, string][] = [
  ['alpha', '1', 'gamma gamma gamma'],
  ['be', '12345', '仮想'],
];

test('a table shows all columns if they fit, else it cuts long cells, and then omits columns by rank', () => {
  assert.deepEqual(layOut(COLUMNS, ROWS, 80), {
    header: 'A          B  C',
    rows: ['alpha      1  gamma gamma gamma', 'be     12345  仮想'],
  });
  assert.equal(layOut(COLUMNS, ROWS, 20).rows[0], 'alpha      1  gamma…');
  assert.deepEqual(layOut(COLUMNS, ROWS, 16), {
    header: 'A        B  C',
    rows: ['al…      1  gam…', 'be   12345  仮想'],
  });
  assert.equal(layOut(COLUMNS, ROWS, 13).header, 'A          B');
  assert.equal(layOut(COLUMNS, ROWS, 6).header, '    B');
  assert.equal(layOut(COLUMNS, ROWS, 2).rows[1], '1…');
});

test('no line of a table is wider than the given width', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string(), fc.string(), fc.string())),
      fc.integer({ min: 1, max: 60 }),
      (rows, width) => {
        const { header, rows: lines } = layOut(
          COLUMNS,
          rows.map((row) => row.map(neutral) as [string, string, string]),
          width,
        );
        for (const text of [header, ...lines]) assert.ok(stringWidth(text) <= width, JSON.stringify(text));
      },
    ),
  );
});
