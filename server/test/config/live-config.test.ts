import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { CHANGED_BY_RELOAD, LiveConfig } from '../../src/config/live-config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { type Config, isConfigKey } from '../../src/config/schema.ts';
import { TracerError } from '../../src/lib/errors.ts';

const config = loadConfig({ environment: {}, flags: [], file: undefined });

function live(load: () => Config) {
  const log: { msg: string; settings?: string[] }[] = [];
  const logger = pino({ level: 'info' }, { write: (line) => log.push(JSON.parse(line)) });
  const clock = { now: 1000, wallMs: () => clock.now };
  return { settings: new LiveConfig({ config, load, logger, clock }), log, clock };
}

test('every setting that a reload changes exists', () => {
  assert.deepEqual(
    CHANGED_BY_RELOAD.filter((key) => !isConfigKey(key)),
    [],
  );
});

test('a reload changes some settings, and reports those that need a restart each time until it happens', () => {
  let next: Config = { ...config, 'stale-after': 20, 'web.allowed-hosts': ['a'], 'events.keep': 5 };
  const { settings, log, clock } = live(() => next);
  clock.now = 2000;
  const expected = { changed: ['web.allowed-hosts', 'stale-after'], needRestart: ['events.keep'] };
  assert.deepEqual(settings.reload(), expected);
  assert.equal(settings.current['stale-after'], 20);
  assert.equal(settings.current['events.keep'], config['events.keep'], 'it is not half changed');
  assert.deepEqual(settings.lastReload, { successful: true, successMs: 2000 });
  assert.deepEqual(settings.reload(), { changed: [], needRestart: ['events.keep'] });
  assert.equal(log.filter(({ settings }) => settings?.[0] === 'events.keep').length, 2);
  next = { ...next, 'events.keep': config['events.keep'] };
  assert.deepEqual(settings.reload(), { changed: [], needRestart: [] });
});

test('a failed reload keeps the settings and the time of the last successful one', () => {
  const { settings, log, clock } = live(() => {
    throw new TracerError('bad_config', 'x is not a key', { where: 'a.yml:1:1', remedy: 'remove it' });
  });
  clock.now = 2000;
  assert.throws(() => settings.reload(), /x is not a key/);
  assert.equal(settings.current, config);
  assert.deepEqual(settings.lastReload, { successful: false, successMs: 1000 });
  assert.match(log[0]?.msg ?? '', /the old settings stay in use: x is not a key/);
});
