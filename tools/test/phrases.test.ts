import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const REPOSITORY = join(import.meta.dirname, '../..');
/** Phrases that docs/glossary.md replaces. cspell.config.yaml has the single words, which is all that cspell can flag. */
const PHRASES =
  /\b(of late|lets go|let go of|so many|the world|once more|takes its turn|goes on|taken away|given back)\b/i;
/** These name the phrases, or are not written by hand. */
const EXEMPT =
  /^(docs\/glossary\.md|CHANGELOG\.md|tools\/test\/phrases\.test\.ts|recordings\/|dashboards\/json\/|package-lock\.json)|\.(png|gz)$/;

test('no text contains a phrase that the glossary replaces', () => {
  const { stdout, status } = spawnSync('git', ['ls-files', '-z'], { cwd: REPOSITORY, encoding: 'utf8' });
  assert.equal(status, 0, 'this test needs git and a checkout');
  const files = stdout.split('\0').filter((file) => file !== '' && !EXEMPT.test(file));
  assert.ok(files.length > 300);
  const found = files.flatMap((file) =>
    readFileSync(join(REPOSITORY, file), 'utf8')
      .split('\n')
      .flatMap((line, index) => (PHRASES.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
  assert.deepEqual(found, []);
});
