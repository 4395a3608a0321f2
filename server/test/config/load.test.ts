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
import { TracerError } from '../../src/lib/errors.ts';

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
  return assert.fail('no error was thrown');
}

const empty = { environment: {}, flags: [], file: undefined };
function flag(key: ConfigKey, raw: unknown) {
  return { key, raw, where: `flag --${key}` };
}

test('without a source each key has its default, and each default is a valid value', () => {
  const config = loadConfig(empty);
  assert.deepEqual(config['web.listen-address'], ['127.0.0.1:10043']);
  assert.equal(config['stale-after'], 10);
  for (const key of CONFIG_KEYS) {
    const { default: value } = keySchema(key);
    // An empty default means that the setting is not given; an empty value is not allowed.
    assert.equal('value' in readSetting(flag(key, value)), value !== '', key);
  }
});

test('flags override the environment, and the environment overrides the file', (t) => {
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

test('allowed hosts are names, all names below a domain, or all hosts', (t) => {
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

test('the environment may name the config file', (t) => {
  const file = fileOf(t, 'strict: true');
  const environment = { VFIO_DMABUF_TRACER_CONFIG_FILE: file };
  assert.equal(loadConfig({ ...empty, environment }).strict, true);
});

test('all problems are reported at once, each with its place and its remedy', (t) => {
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
    'events is a section',
    'did you mean VFIO_DMABUF_TRACER_STALE_AFTER?',
    'one of auto, json, pretty',
    '/api/v1/x is a path of the daemon itself',
  ]) {
    assert.ok(error.message.includes(part), `${part} is missing in\n${error.message}`);
  }
  assert.match(error.message, /^6 problems in the settings:/);
});

test('a single problem has its message, place and remedy in separate fields', () => {
  const error = failure(() => loadConfig({ ...empty, flags: [flag('log.level', 'loud')] }));
  assert.equal(error.message, 'log.level cannot be "loud"');
  assert.equal(error.where, 'flag --log.level');
  assert.match(error.remedy ?? '', /one of trace, debug/);
});

test('broken YAML is reported with line and column', () => {
  const { problems } = parseConfig('web:\n  - [1\nlog: {', 'c.yaml');
  assert.ok(problems.length > 0);
  assert.match(problems[0]?.where ?? '', /^c\.yaml:\d+:\d+$/);
});

test('a key given twice is rejected, nested or dotted', () => {
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

test('a config file with a list is an error', () => {
  assert.match(parseConfig('- a\n- b\n', 'c.yaml').problems[0]?.what ?? '', /not a map/);
});

test('a config file that does not exist is a user error that names it', () => {
  const error = failure(() => loadConfig({ ...empty, file: '/nowhere/tracer.yaml' }));
  assert.equal(error.code, 'file_unreadable');
  assert.equal(error.where, '/nowhere/tracer.yaml');
});

/** The variables that the kubelet sets for a Service. Its name is in upper case and has `_` for `-` (envvars.FromServices). */
function serviceLinks(service: string, host = '10.0.0.1', protocol = 'tcp'): Record<string, string> {
  const url = `${protocol}://${host.includes(':') ? `[${host}]` : host}:10043`;
  const port = `${service}_PORT_10043_${protocol.toUpperCase()}`;
  return {
    [`${service}_SERVICE_HOST`]: host,
    [`${service}_SERVICE_PORT`]: '10043',
    [`${service}_SERVICE_PORT_HTTP_METRICS`]: '10043',
    [`${service}_PORT`]: url,
    [port]: url,
    [`${port}_PROTO`]: protocol,
    [`${port}_PORT`]: '10043',
    [`${port}_ADDR`]: host,
  };
}

for (const [name, environment] of Object.entries({
  'with the name of the program': serviceLinks('VFIO_DMABUF_TRACER'),
  'whose name begins with that of the program': serviceLinks('VFIO_DMABUF_TRACER_METRICS'),
  'with the name of a setting': serviceLinks('VFIO_DMABUF_TRACER_RECORD'),
  'with IPv6 and UDP': serviceLinks('VFIO_DMABUF_TRACER_A', 'fd00::1', 'udp'),
  'and of another': {
    ...serviceLinks('VFIO_DMABUF_TRACER_A'),
    ...serviceLinks('VFIO_DMABUF_TRACER_B_C', '10.0.0.9', 'sctp'),
  },
})) {
  test(`the variables of a Kubernetes Service ${name} are ignored with one warning`, () => {
    const warnings: string[] = [];
    const config = loadConfig({ ...empty, environment, onWarning: (text) => warnings.push(text) });
    assert.deepEqual(config, loadConfig(empty));
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0] ?? '',
      new RegExp(`and ${Object.keys(environment).length - 1} more in the environment: .*enableServiceLinks`),
    );
  });
}

test('a variable with the name of a Service variable but another value is reported as a misspelt setting', () => {
  for (const [name, value] of [
    ['PORT', '9100'],
    ['WEB_PORT', ':9100'],
    ['WEB_SERVICE_HOST', 'localhost'],
    ['SERVICE_PORT', 'http'],
    ['A_PORT_80_TCP_ADDR', 'host'],
    ['A_PORT_80_TCP_PROTO', 'http'],
    ['LOG_LEVL', 'debug'],
    ['RECORDS', '/tmp/x'],
  ] as const) {
    const warnings: string[] = [];
    const environment = { [`VFIO_DMABUF_TRACER_${name}`]: value };
    const error = failure(() =>
      loadConfig({ ...empty, environment, onWarning: (text) => warnings.push(text) }),
    );
    assert.match(error.message, /is not a setting/, name);
    assert.deepEqual(warnings, []);
  }
});

test('a setting is never treated as a variable of a Service, whatever its value is', () => {
  for (const key of CONFIG_KEYS) {
    for (const value of ['10.0.0.1', '80', 'tcp', 'tcp://10.0.0.1:80']) {
      const onWarning = () => assert.fail(key);
      try {
        loadConfig({ ...empty, environment: { [environmentName(key)]: value }, onWarning });
      } catch (error) {
        assert.ok(error instanceof TracerError);
      }
    }
  }
});

test('an empty setting is an error with its place, in each source', (t) => {
  for (const key of CONFIG_KEYS.filter((one) => keySchema(one).type !== 'array')) {
    assert.match(failure(() => loadConfig({ ...empty, flags: [flag(key, '')] })).message, /cannot be empty$/);
    const name = environmentName(key);
    const error = failure(() => loadConfig({ ...empty, environment: { [name]: ' ' } }));
    assert.deepEqual(
      [error.message, error.where],
      [`${key} cannot be empty`, `environment variable ${name}`],
    );
  }
  const file = fileOf(t, 'record: ""\n');
  assert.equal(failure(() => loadConfig({ ...empty, file })).where, `${file}:1:9`);
  const error = failure(() => loadConfig({ ...empty, environment: { VFIO_DMABUF_TRACER_CONFIG_FILE: '' } }));
  assert.match(error.message, /path of the config file is empty/);
});

for (const text of ['web:\n', 'web:\n  # listen-address: [":1"]\nlog:\n', 'web: ~\n', 'web: {}\n']) {
  test(`the empty section of ${JSON.stringify(text)} is treated as absent`, () => {
    assert.deepEqual(parseConfig(text, 'c.yaml'), { settings: [], problems: [] });
  });
}

for (const section of [
  ...new Set(CONFIG_KEYS.filter((key) => key.includes('.')).map((key) => key.split('.')[0] ?? '')),
]) {
  test(`a value of the section ${section} that is not a map is an error with its line`, () => {
    for (const value of ['5', '[a]', '"a text"', '""', 'true']) {
      const { problems } = parseConfig(`strict: true\n${section}: ${value}\n`, 'c.yaml');
      assert.equal(problems.length, 1, value);
      assert.equal(problems[0]?.what, `${section} is a section: its value must be a map of keys`);
      assert.equal(problems[0]?.where, 'c.yaml:2:1');
      assert.match(problems[0]?.remedy ?? '', new RegExp(`\\b${section}: \\{`));
    }
  });
}

test('a YAML alias is resolved to its map or its value', () => {
  const aliased = parseConfig('log: &x {level: info}\nweb: *x\n', 'c.yaml');
  assert.match(aliased.problems[0]?.what ?? '', /^web\.level is not a key/);
  assert.deepEqual(
    parseConfig('record: &x a\nbpftrace: {path: *x}\n', 'c.yaml').settings.map(({ raw }) => raw),
    ['a', 'a'],
  );
});

for (const [address, valid] of [
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
  test(`the address ${JSON.stringify(address)} is ${valid ? 'accepted' : 'rejected'}`, () => {
    const read = readSetting(flag('web.listen-address', [address]));
    assert.equal('value' in read, valid);
  });
}

test('several addresses in the environment are separated by commas', () => {
  const environment = { VFIO_DMABUF_TRACER_WEB_LISTEN_ADDRESS: '127.0.0.1:1, [::1]:2' };
  assert.deepEqual(loadConfig({ ...empty, environment })['web.listen-address'], ['127.0.0.1:1', '[::1]:2']);
});

test('the environment variables of all keys and of the config file have different names', () => {
  const names = [...CONFIG_KEYS.map(environmentName), environmentName('config.file')];
  assert.equal(new Set(names).size, names.length);
});

test('a number within its limits is read from text, and any other number is rejected', () => {
  const { minimum = 0, maximum = 0 } = keySchema('events.keep');
  fc.assert(
    fc.property(fc.integer(), (number) => {
      const read = readSetting(flag('events.keep', String(number)));
      if (number >= minimum && number <= maximum) assert.deepEqual(read, { value: number });
      else assert.ok('problem' in read);
    }),
  );
});

test('for any input, the loader fails only with a TracerError that has a description', () => {
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
