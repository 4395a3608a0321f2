import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const logger = new URL('../../src/lib/logger.ts', import.meta.url).href;

/** The output of a logger in a separate process, because a logger writes to a descriptor. */
function logged(options: object, statement: string): string {
  const program = `import { createLogger } from ${JSON.stringify(logger)};
    const log = await createLogger(${JSON.stringify(options)}); ${statement}`;
  const run = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('../../..', import.meta.url)),
  });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout;
}

const json = { level: 'info', format: 'json', fd: 1, terminal: false };

test('a line is JSON with its level as text and its time in ISO 8601', () => {
  const line = JSON.parse(logged(json, `log.debug('hidden'); log.info({ url: 'x' }, 'listening')`));
  assert.equal(line.level, 'info');
  assert.equal(line.msg, 'listening');
  assert.equal(new Date(line.time).toISOString(), line.time);
  assert.deepEqual(Object.keys(line).sort(), ['level', 'msg', 'time', 'url']);
});

test('values that may be credentials are redacted', () => {
  const text = logged(
    json,
    `log.info({ token: 'hush', req: { password: 'hush', headers: { authorization: 'hush', cookie: 'hush' } } })`,
  );
  assert.doesNotMatch(text, /hush/);
  assert.equal(text.match(/\[redacted\]/g)?.length, 4);
});

test('auto is pretty on a terminal and JSON elsewhere', () => {
  assert.match(logged({ ...json, format: 'auto' }, `log.info('hello')`), /^\{/);
  assert.doesNotMatch(logged({ ...json, format: 'auto', terminal: true }, `log.info('hello')`), /^\{/);
});

const HOSTILE = `log.warn({ why: 'a\\x1b[2J\\u009b31m\\u202eb\\\\u001bc' }, 'the daemon says \\x1b]0;owned\\x07')`;

test('control characters in a JSON line are escaped, and the JSON has the same value', () => {
  const text = logged(json, HOSTILE);
  assert.doesNotMatch(text.trimEnd(), /\p{Cc}|\p{Cf}/u);
  assert.equal(JSON.parse(text).why, 'a\x1b[2J\u009b31m\u202eb\\u001bc');
});

test('control characters in a pretty line are replaced', () => {
  const text = logged({ ...json, format: 'pretty' }, HOSTILE);
  assert.match(text, /the daemon says \ufffd\]0;owned\ufffd/);
  assert.match(text, /a\ufffd\[2J\ufffd31m\ufffdb/);
  assert.doesNotMatch(text, /[^\P{Cc}\n]|\p{Cf}/u);
});
