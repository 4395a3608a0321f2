import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { parseConfig } from '../../src/config/file.ts';
import { loadConfig } from '../../src/config/load.ts';
import { CONFIG_KEYS, type ConfigKey, environmentName, keySchema } from '../../src/config/schema.ts';
import { readSetting } from '../../src/config/values.ts';
import { TracerError } from '../../src/support/errors.ts';

function fileOf(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'tracer.yaml');
  writeFileSync(path, text);
  return path;
}

function failure(run: () => unknown): TracerError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof TracerError);
    return error;
  }
  return assert.fail('nothing was wrong');
}

const empty = { environment: {}, flags: [], file: undefined };
const flag = (key: ConfigKey, raw: unknown) => ({ key, raw, where: `flag --${key}` });

test('without any source every key has its default, and each default is a valid value', () => {
  const config = loadConfig(empty);
  assert.deepEqual(config['web.listen-address'], ['127.0.0.1:10043']);
  assert.equal(config['stale-after'], 10);
  for (const key of CONFIG_KEYS) {
    assert.ok('value' in readSetting(flag(key, keySchema(key).default)), key);
  }
});

test('flags win over the environment, the environment over the file', (t) => {
  const file = fileOf(t, 'events:\n  keep: 1\nlog:\n  level: error\nstrict: true\n');
  const config = loadConfig({
    environment: { VFIO_DMABUF_TRACER_EVENTS_KEEP: '2', VFIO_DMABUF_TRACER_LOG_LEVEL: 'debug' },
    flags: [flag('events.keep', '3')],
    file,
  });
  assert.equal(config['events.keep'], 3);
  assert.equal(config['log.level'], 'debug');
  assert.equal(config.strict, true);
});

test('hosts are allowed by name, below a domain, or all', (t) => {
  const file = fileOf(t, 'web:\n  allowed-hosts: [tracer, "*.example.com"]\n');
  assert.deepEqual(loadConfig({ ...empty, file })['web.allowed-hosts'], ['tracer', '*.example.com']);
  const environment = { VFIO_DMABUF_TRACER_WEB_ALLOWED_HOSTS: 'tracer.monitoring.svc, *' };
  assert.deepEqual(loadConfig({ ...empty, environment })['web.allowed-hosts'], [
    'tracer.monitoring.svc',
    '*',
  ]);
  for (const name of ['tracer:10043', 'http://tracer', 'tracer/', '*.*', '*tracer', '[::1]', '', 'a b']) {
    const error = failure(() => loadConfig({ ...empty, flags: [flag('web.allowed-hosts', [name])] }));
    assert.match(error.remedy ?? '', /NAME without a port, \*\.DOMAIN, or \*/, name);
  }
});

test('the file may also be named by the environment', (t) => {
  const file = fileOf(t, 'strict: true');
  const environment = { VFIO_DMABUF_TRACER_CONFIG_FILE: file };
  assert.equal(loadConfig({ ...empty, environment }).strict, true);
});

test('everything that is wrong is said at once, with its place and its remedy', (t) => {
  const file = fileOf(t, 'web:\n  listn-address: x\n  max-requests: many\nevents: 5\n');
  const error = failure(() =>
    loadConfig({
      environment: { VFIO_DMABUF_TRACER_STALE_AFTR: '1', VFIO_DMABUF_TRACER_LOG_FORMAT: 'jsn' },
      flags: [flag('web.telemetry-path', '/api/v1/x')],
      file,
    }),
  );
  assert.equal(error.code, 'bad_config');
  for (const part of [
    `${file}:2:3`,
    'did you mean web.listen-address?',
    `${file}:3:17`,
    'a whole number from 0 to 10000',
    `${file}:4:1`,
    'did you mean VFIO_DMABUF_TRACER_STALE_AFTER?',
    'one of auto, json, pretty',
    '/api/v1/x is a path of the daemon itself',
  ]) {
    assert.ok(error.message.includes(part), `${part} is missing in\n${error.message}`);
  }
  assert.match(error.message, /^6 things are wrong/);
});

test('one wrong thing alone keeps its parts apart', () => {
  const error = failure(() => loadConfig({ ...empty, flags: [flag('log.level', 'loud')] }));
  assert.equal(error.message, 'log.level cannot be "loud"');
  assert.equal(error.where, 'flag --log.level');
  assert.match(error.remedy ?? '', /one of trace, debug/);
});

test('broken YAML is told with line and column', () => {
  const { problems } = parseConfig('web:\n  - [1\nlog: {', 'c.yaml');
  assert.ok(problems.length > 0);
  assert.match(problems[0]?.where ?? '', /^c\.yaml:\d+:\d+$/);
});

test('a key given twice is refused, nested or dotted', () => {
  const nested = parseConfig('strict: true\nstrict: false\n', 'c.yaml');
  assert.match(nested.problems[0]?.where ?? '', /^c\.yaml:2:1$/);
  const dotted = parseConfig('log.level: info\nlog: {level: warn}\n', 'c.yaml');
  assert.match(dotted.problems[0]?.what ?? '', /log\.level is given twice/);
});

test('an empty file and a file of comments set nothing', () => {
  for (const text of ['', '# nothing\n', '---\n', '~']) {
    assert.deepEqual(parseConfig(text, 'c.yaml'), { settings: [], problems: [] });
  }
});

test('a list is not a config', () => {
  assert.match(parseConfig('- a\n- b\n', 'c.yaml').problems[0]?.what ?? '', /not a map/);
});

test('a file that is not there is a user error that names it', () => {
  const error = failure(() => loadConfig({ ...empty, file: '/nowhere/tracer.yaml' }));
  assert.equal(error.code, 'file_unreadable');
  assert.equal(error.where, '/nowhere/tracer.yaml');
});

test('what Kubernetes sets for a Service of this name is left alone', () => {
  const environment = {
    VFIO_DMABUF_TRACER_SERVICE_HOST: '10.0.0.1',
    VFIO_DMABUF_TRACER_SERVICE_PORT_HTTP: '10043',
    VFIO_DMABUF_TRACER_PORT: 'tcp://10.0.0.1:10043',
    VFIO_DMABUF_TRACER_PORT_10043_TCP_ADDR: '10.0.0.1',
  };
  assert.deepEqual(loadConfig({ ...empty, environment }), loadConfig(empty));
});

for (const [address, right] of [
  ['127.0.0.1:10043', true],
  ['[::1]:10043', true],
  [':9100', true],
  ['localhost:0', true],
  ['127.0.0.1', false],
  ['::1:10043', false],
  ['127.0.0.1:65536', false],
  ['http://x:1', false],
  ['', false],
] as const) {
  test(`the address ${JSON.stringify(address)} is ${right ? 'taken' : 'refused'}`, () => {
    const read = readSetting(flag('web.listen-address', [address]));
    assert.equal('value' in read, right);
  });
}

test('the environment gives several addresses with commas', () => {
  const environment = { VFIO_DMABUF_TRACER_WEB_LISTEN_ADDRESS: '127.0.0.1:1, [::1]:2' };
  assert.deepEqual(loadConfig({ ...empty, environment })['web.listen-address'], ['127.0.0.1:1', '[::1]:2']);
});

test('the names of the environment are all different, and none is the one of the file', () => {
  const names = [...CONFIG_KEYS.map(environmentName), environmentName('config.file')];
  assert.equal(new Set(names).size, names.length);
});

test('any number within its bounds reads back the same from a text; any beyond is refused', () => {
  const { minimum = 0, maximum = 0 } = keySchema('events.keep');
  fc.assert(
    fc.property(fc.integer(), (number) => {
      const read = readSetting(flag('events.keep', String(number)));
      if (number >= minimum && number <= maximum) assert.deepEqual(read, { value: number });
      else assert.ok('problem' in read);
    }),
  );
});

test('no text whatever makes the loader fail but with a TracerError that has something to say', () => {
  const key = fc.constantFrom(...CONFIG_KEYS);
  fc.assert(
    fc.property(fc.string(), fc.array(fc.tuple(key, fc.string())), (yaml, pairs) => {
      const file = parseConfig(yaml, 'c.yaml');
      for (const problem of file.problems) assert.match(problem.where, /^c\.yaml:\d+:\d+$/);
      try {
        loadConfig({ ...empty, flags: pairs.map(([name, raw]) => flag(name, raw)), problems: file.problems });
      } catch (error) {
        assert.ok(error instanceof TracerError && error.isUserError, String(error));
        assert.ok(error.describe().length > 10);
      }
    }),
  );
});
