import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { freePort } from '../../../lab/src/free-port.ts';
import { ensurePackages } from '../../../lab/src/host-packages.ts';
import { Program, type Serving } from '../../../server/test/e2e/program.ts';
import { catalogue, REPOSITORY, RULE_FILES, RULES } from '../catalogue.ts';
import { panelsOf, readDashboards, substituted, targetsOf, withAll } from '../dashboards.ts';
import { EITHER, EMPTY } from '../empty.ts';
import { expressions } from '../expressions.ts';
import { busyHost, troubledHost } from '../live-host.ts';
import { readQuery } from '../promql.ts';
import { OwnServer, startPrometheus, until } from '../servers.ts';

const RECORDINGS = [
  'import-vgem',
  'export-beyond-bar',
  'private-bind-vm-mismatch',
  'revoke-memory-enabled-again',
];

const program = new Program();
const prometheus = new OwnServer();
const busy = busyHost();
const troubled = troubledHost();
const serving: Serving[] = [];
let untraceable = '';

/** Hosts of two clusters, and some without the label cluster. */
before(
  async () => {
    await ensurePackages(['prometheus'], console.log);
    program.build();
    const start = async (args: readonly string[]): Promise<string> => {
      const one = program.spawn([...args, '--web.listen-address=127.0.0.1:0']);
      serving.push(one);
      await one.listening();
      return one.url.replace('http://', '');
    };
    await busy.daemon.start();
    await troubled.daemon.start();
    await assert.rejects(troubled.daemon.reload());
    const replays: string[] = [];
    for (const name of RECORDINGS)
      replays.push(await start(['replay', join(REPOSITORY, `recordings/${name}.ndjson`)]));
    untraceable = await start([
      'run',
      '--bpftrace.path=/nowhere/bpftrace',
      '--record=/dev/full',
      '--events.output=/dev/full',
    ]);
    const dead = `127.0.0.1:${await freePort()}`;
    const group = (cluster: string, ...targets: string[]) =>
      `      - targets: [${targets.map((target) => `'${target}'`).join(', ')}]\n` +
      (cluster === '' ? '' : `        labels: { cluster: ${cluster} }\n`);
    await startPrometheus(
      prometheus,
      `global: { scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 2s }
rule_files: [${RULE_FILES.map((file) => `'${join(RULES, file)}'`).join(', ')}]
scrape_configs:
  - job_name: vfio-dmabuf-tracer
    static_configs:
${group('north', busy.address, ...replays.slice(0, 2))}${group('south', troubled.address, untraceable, dead)}${group('', ...replays.slice(2))}`,
    );
    // Until each host was scraped often enough for a rate, and the rules have their input.
    await until('every host to have a history', async () => {
      const [seen] = await prometheus.query(
        'count(count_over_time(vfio_dmabuf_build_info[5m]) > 5) == 7 and count(ALERTS{alertname="VfioDmabufPolicyViolation",alertstate="firing"})',
      );
      return seen !== undefined;
    });
  },
  { timeout: 300_000 },
);

after(async () => {
  await prometheus.stop();
  for (const one of serving) {
    one.child.kill('SIGTERM');
    await one.ended;
  }
  await busy.daemon.stop();
  await troubled.daemon.stop();
  program.remove();
});

test('every expression of every panel, annotation, rule and alert is answered, with data unless it is listed as empty', async () => {
  const all = expressions(busy.address);
  assert.ok(all.length > 180);
  let wrong: string[] = [];
  // Some expressions need more history on a slow machine.
  for (const end = Date.now() + 60_000; ; ) {
    wrong = [];
    for (const { where, expr } of all) {
      const empty = (await prometheus.query(expr)).length === 0;
      if (EITHER[where] === undefined && empty !== (EMPTY[where] !== undefined))
        wrong.push(`${where} is ${empty ? 'empty' : 'not empty'}: ${expr}`);
    }
    if (wrong.length === 0 || Date.now() > end) break;
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
  assert.deepEqual(wrong, []);
  const places = all.map(({ where }) => where);
  assert.deepEqual(
    [...Object.keys(EMPTY), ...Object.keys(EITHER)].filter((where) => !places.includes(where)),
    [],
  );
});

test('every expression names only existing metrics and labels', () => {
  const known = catalogue();
  for (const { where, expr } of expressions(busy.address)) {
    const { selectors, grouped } = readQuery(expr);
    assert.ok(selectors.length > 0, where);
    const labels = new Set<string>();
    for (const { metric, matched } of selectors) {
      const { labels: own } = known.get(metric) ?? {};
      assert.ok(own !== undefined, `${where}: unknown metric ${metric}`);
      for (const label of own) labels.add(label);
      for (const label of matched) assert.ok(own.has(label), `${where}: ${metric} has no label ${label}`);
    }
    for (const label of grouped) assert.ok(labels.has(label), `${where}: no metric has the label ${label}`);
  }
});

test('every variable has values, and its query names only existing metrics and labels', async () => {
  const known = catalogue();
  let variables = 0;
  for (const [file, dashboard] of readDashboards()) {
    for (const { name, type, definition = '' } of dashboard.templating?.list ?? []) {
      if (type !== 'query' || name === 'runbooks') continue;
      variables += 1;
      const [, selector = '', label = ''] = /^label_values\((.+), (\w+)\)$/s.exec(definition) ?? [];
      const match =
        file === 'host.json'
          ? substituted(selector, { cluster: '.*', instance: busy.address })
          : withAll(selector);
      const [{ metric, matched } = { metric: '', matched: [] }] = readQuery(match).selectors;
      for (const one of [label, ...matched])
        assert.ok(known.get(metric)?.labels.has(one), `${file}: ${name}: ${one}`);
      const values = await prometheus.api<string[]>(`/api/v1/label/${label}/values`, { 'match[]': match });
      assert.ok(values.length > 0, `${file}: ${name} has no value: ${match}`);
    }
  }
  assert.ok(variables > 12);
});

test('a host serves the runbooks of a dashboard', async () => {
  for (const [file, dashboard] of readDashboards()) {
    const { definition = '', regex = '' } =
      (dashboard.templating?.list ?? []).find(({ name }) => name === 'runbooks') ?? assert.fail(file);
    const [, query = ''] = /^query_result\((.+)\)$/.exec(definition) ?? [];
    const values = (await prometheus.query(substituted(query, { cluster: '.*', 1: '$1' }))).map(
      ({ metric }) => {
        const shown = Object.entries(metric).map(([label, value]) => `${label}="${value}"`);
        return new RegExp(regex.slice(1, -1)).exec(`{${shown}} 1 0`)?.[1] ?? '';
      },
    );
    assert.equal(values.length, 7, file);
    for (const base of values) assert.equal((await fetch(`${base}VfioDmabufMapFull.md`)).status, 200, base);
  }
});

test('hosts without the label cluster are in the table of the fleet', async () => {
  const [, , , , , , hosts] = panelsOf(readDashboards().get('fleet.json') ?? assert.fail());
  assert.equal(hosts?.title, 'Hosts');
  const [state] = targetsOf(hosts);
  // The host in trouble is sometimes blind.
  const expected = { 'north 2': 3, 'none 2': 2, 'south 0': 1, 'south 1': 1, 'south 2': 1 };
  let counted: Record<string, number> = {};
  await until(`states ${JSON.stringify(expected)}`, async () => {
    counted = {};
    for (const { metric, value } of await prometheus.query(withAll(state?.expr ?? ''))) {
      const key = `${metric.cluster ?? 'none'} ${value[1]}`;
      counted[key] = (counted[key] ?? 0) + 1;
    }
    return isDeepStrictEqual(counted, expected);
  });
});

test('a host whose counters were never read has no age', async () => {
  const hosts = panelsOf(readDashboards().get('fleet.json') ?? assert.fail()).find(
    ({ title }) => title === 'Hosts',
  );
  const ages = await prometheus.query(withAll(targetsOf(hosts ?? assert.fail())[1]?.expr ?? ''));
  assert.ok(ages.some(({ metric }) => metric.instance === busy.address));
  assert.ok(!ages.some(({ metric }) => metric.instance === untraceable));
});

test('a zero is shown only for traced hosts: a host that cannot be traced has no value', async () => {
  const dashboard = readDashboards().get('host.json') ?? assert.fail();
  const panel = panelsOf(dashboard).find(({ title }) => title === 'Rejected import stages') ?? assert.fail();
  const [target] = targetsOf(panel);
  const ask = (instance: string) =>
    prometheus.query(substituted(target?.expr ?? '', { cluster: '.*', instance }));
  assert.deepEqual(await ask(untraceable), []);
  const quiet = serving[RECORDINGS.indexOf('export-beyond-bar')]?.url.replace('http://', '') ?? '';
  assert.deepEqual(
    (await ask(quiet)).map(({ value }) => value[1]),
    ['0'],
  );
});

test('the first rejection is shown, although its counter starts with it', async () => {
  const dashboard = readDashboards().get('rejections.json') ?? assert.fail();
  const panel =
    panelsOf(dashboard).find(({ title }) => title === 'Who was rejected, and why') ?? assert.fail();
  const rows = await prometheus.query(withAll(targetsOf(panel)[0]?.expr ?? ''));
  const replayed = serving[RECORDINGS.indexOf('import-vgem')]?.url.replace('http://', '');
  assert.deepEqual(
    rows
      .filter(({ metric }) => metric.instance === replayed)
      .map(({ metric, value }) => [metric.reason, value[1]]),
    [['no_peer_to_peer', '1']],
  );
});

test('promtool accepts the served metrics', async () => {
  for (const url of [`http://${busy.address}`, serving[0]?.url]) {
    const input = await (await fetch(`${url}/metrics`)).text();
    assert.match(input, /^vfio_dmabuf_up 1$/m);
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input,
      encoding: 'utf8',
    });
    // The metrics of the process come from a library; promtool exits with 3 if it objects to one of them.
    const known = /^(process_|nodejs_)/;
    assert.ok(status === 0 || status === 3, `promtool exited with ${status}: ${stderr}`);
    const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
    assert.deepEqual(
      lines.filter((line) => !known.test(line)),
      [],
    );
  }
});
