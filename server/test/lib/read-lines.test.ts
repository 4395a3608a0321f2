import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { readLines } from '../../src/lib/read-lines.ts';

async function linesOf(chunks: readonly string[]): Promise<string[]> {
  const lines: string[] = [];
  await readLines(Readable.from(chunks), (line) => lines.push(line));
  return lines;
}

test('the lines do not depend on the chunks', async () => {
  const text = 'one\n\ntwo\nthree';
  for (let size = 1; size <= text.length; size += 1) {
    const chunks = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
    assert.deepEqual(await linesOf(chunks), ['one', '', 'two', 'three'], `chunks of ${size}`);
  }
});

test('the end after a line feed is not a line, and an empty text has none', async () => {
  assert.deepEqual(await linesOf(['one\n']), ['one']);
  assert.deepEqual(await linesOf([]), []);
});

test('the error of the stream is passed on', async () => {
  const broken = Readable.from(
    (function* () {
      yield 'one\n';
      throw new Error('gone');
    })(),
  );
  await assert.rejects(
    readLines(broken, () => {}),
    /gone/,
  );
});
