import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const PAGE = join(import.meta.dirname, '../../web');

test('page.css imports the styles of each section once, after the tokens', () => {
  const files = readdirSync(PAGE, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.css') && file !== 'page.css')
    .sort();
  const styles = readFileSync(join(PAGE, 'page.css'), 'utf8');
  const imported = Array.from(styles.matchAll(/^@import "\.\/([^"]+)";$/gm), ([, file = '']) => file);
  assert.equal(imported[0], 'base.css');
  assert.deepEqual(imported.toSorted(), files);
});
