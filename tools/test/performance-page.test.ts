import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PERFORMANCE_PAGE, performancePage } from '../performance-page.ts';

test('docs/performance.md has the tables of docs/performance.json; `npm run docs` writes them', () => {
  assert.equal(readFileSync(PERFORMANCE_PAGE, 'utf8'), performancePage());
});
