import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { print, printData, printJson, type Span, styled } from '../../src/cli/output.ts';
import { TracerError } from '../../src/lib/errors.ts';
import { Collected } from '../fixtures/collected.ts';
import { EVIL_NAME } from '../fixtures/watch-stream.ts';

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url));
/** The only files that may write to standard output or standard error. */
const PRINTERS = ['cli/output.ts', 'cli/run-server.ts', 'cli/watch/screen.ts', 'lib/write-all.ts'];

test('no other file writes to standard output or standard error', () => {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  assert.ok(files.length > 50);
  const printing = files.filter((file) => {
    const text = readFileSync(`${SOURCE}/${file}`, 'utf8');
    return /std(?:out|err)\b\)?\??\.(?:write|end)\b|writeAll\(|writeSync\(|\bconsole\.|write-all/.test(text);
  });
  assert.deepEqual(printing.sort(), PRINTERS);
  const screen = readFileSync(`${SOURCE}/cli/watch/screen.ts`, 'utf8');
  const written = [...screen.matchAll(/(?:\.write|writeSync)\((.*)\);$/gm)].map(([, what]) => what);
  const frame = '`$' + '{BEGIN}\\x1b[H$' + '{text}$' + '{END}`';
  assert.deepEqual(written, ['ENTER', frame, 'this.#stdout.fd ?? 1, LEAVE']);
  assert.match(screen, /const text = lines\.map\(.*styled\(\[/);
});

async function printed(run: (stream: Collected) => Promise<void>): Promise<string> {
  const stream = new Collected();
  await run(stream);
  return stream.text;
}

test('printed text has no control characters except line feeds and tabs', async () => {
  assert.equal(
    await printed((to) => print(to, `a\t${EVIL_NAME}\r\n`)),
    'a\tevil\ufffd]0;owned\ufffd\ufffd[2J\ufffdvm\ufffd\n',
  );
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
      const shown = await printed((to) => print(to, text));
      assert.doesNotMatch(shown, /[^\P{Cc}\n\t]|[\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u);
    }),
  );
});

test('only a span with a color is colored, and its text cannot end the color', () => {
  const spans: Span[] = ['\x1b[31mred', { text: 'a\x1b[0mb', sgr: '1;31' }, { text: 'plain', sgr: '' }];
  assert.equal(styled(spans), '\ufffd[31mred\x1b[1;31ma\ufffd[0mb\x1b[0mplain');
});

test('control characters in JSON are escaped, and the JSON has the same value', async () => {
  const escaped = await printed((to) => printJson(to, JSON.stringify('\x7f\u009b31m\u202e\u2028\u{e0041}')));
  assert.equal(escaped, '"\\u007f\\u009b31m\\u202e\\u2028\\udb40\\udc41"\n');
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), fc.string({ unit: 'binary' }), async (value, text) => {
      const json = await printed((to) => printJson(to, JSON.stringify({ value, text }, null, 2)));
      assert.doesNotMatch(json, /[^\P{Cc}\n]|[\p{Cf}\p{Cs}]/u);
      assert.deepEqual(JSON.parse(json), JSON.parse(JSON.stringify({ value, text })));
    }),
  );
});

test('data is printed unchanged, except on a terminal', async () => {
  const text = `x{name="${EVIL_NAME}"} 1\n`;
  assert.equal(await printed((to) => printData(to, text)), text);
  assert.doesNotMatch(
    await printed((to) => printData(Object.assign(to, { isTTY: true }), text)),
    /[^\P{Cc}\n]|\p{Cf}/u,
  );
});

test('the place and the remedy of an error are one line each, even if they contain line feeds', () => {
  const error = new TracerError('bad_usage', 'wrong', {
    where: 'a\n  fix: run this\x1b[2J',
    remedy: 'b\nc',
  });
  assert.equal(error.describe(), 'wrong\n  where: a\ufffd  fix: run this\ufffd[2J\n  fix: b\ufffdc');
});
