import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { parse } from 'yaml';
import { ensurePackages } from '../../../lab/src/host-packages.ts';
import { catalogue, REPOSITORY, RULE_FILES, RULES, type RuleFile, readRules } from '../catalogue.ts';
import { readDashboards } from '../dashboards.ts';
import { readQuery } from '../promql.ts';

before(() => ensurePackages(['prometheus', 'jsonnet'], console.log));

const RUNBOOKS = join(REPOSITORY, 'docs/runbooks');
const MIXIN = join(REPOSITORY, 'dashboards/mixin/mixin.libsonnet');
const rules = RULE_FILES.flatMap(readRules);
const alerts = rules.filter(({ alert }) => alert !== undefined);
/** Alerts about no host, or about one that does not answer. */
const OF_NO_HOST = [
  'VfioDmabufTracerDown',
  'VfioDmabufTracerAbsent',
  'VfioDmabufFleetBlind',
  'VfioDmabufRejectionsOnManyHosts',
];
/** Alerts that share the runbook of another alert. A short page under their own name leads there. */
const SHARED_RUNBOOK: Readonly<Record<string, string>> = {
  VfioDmabufCollectorFlapping: 'VfioDmabufBlindTime',
  VfioDmabufCountsDoNotReconcile: 'VfioDmabufEventsLost',
};
const testFiles = readdirSync(join(RULES, 'tests')).map((file) => join(RULES, 'tests', file));

const tool = (command: string, args: readonly string[]): string => {
  const run = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20 });
  assert.equal(run.status, 0, `${run.error?.message ?? ''}${run.stdout}${run.stderr}`);
  return run.stdout;
};

interface AlertTest {
  name?: string;
  alert_rule_test?: { eval_time: string; alertname: string; exp_alerts?: unknown[] }[];
  promql_expr_test?: { expr: string }[];
}
const unitTests = testFiles.flatMap(
  (file) => (parse(readFileSync(file, 'utf8')) as { tests: AlertTest[] }).tests,
);

test('promtool accepts the rules', () => {
  tool('promtool', ['check', 'rules', ...RULE_FILES.map((file) => join(RULES, file))]);
});

test('promtool runs their unit tests', () => {
  tool('promtool', ['test', 'rules', ...testFiles]);
});

test('every alert has a unit test: not firing, firing and resolved, in this order', () => {
  for (const { alert = '' } of alerts) {
    const cases = unitTests.filter(({ name }) => name === alert);
    assert.ok(cases.length > 0, `${alert} has no test of its name`);
    for (const { alert_rule_test: times = [] } of cases) {
      assert.ok(
        times.every(({ alertname }) => alertname === alert),
        alert,
      );
      assert.deepEqual(
        times.map(({ exp_alerts: expected = [] }) => expected.length > 0),
        [false, true, false],
        alert,
      );
    }
  }
});

test('every recorded series is tested, or a tested rule uses it', () => {
  const tested = unitTests.flatMap(({ promql_expr_test: queries = [] }) => queries.map(({ expr }) => expr));
  const used = rules.flatMap(({ expr }) => readQuery(expr).selectors.map(({ metric }) => metric));
  for (const { record } of rules) {
    if (record === undefined) continue;
    assert.match(record, /^(cluster|instance)(_[a-z]+)*:vfio_dmabuf_[a-z_]+:[a-z0-9]+$/);
    assert.ok(used.includes(record) || tested.some((expr) => expr.includes(record)), record);
  }
});

test('every alert has a severity, a summary, a description that says what to do, and a runbook of five parts', () => {
  assert.ok(alerts.length >= 30);
  for (const { alert = '', labels, annotations = {} } of alerts) {
    assert.match(alert, /^VfioDmabuf[A-Z]\w+$/);
    assert.match(labels?.severity ?? '', /^(critical|warning|info)$/, alert);
    assert.match(annotations.summary ?? '', /^.{20,}\.$/, alert);
    assert.match(annotations.description ?? '', /^.{60,}\.$/, alert);
    // On the host itself, if the alert is about one that answers.
    const any =
      '{{ with query "vfio_dmabuf_build_info" }}http://{{ . | first | label "instance" }}/runbooks/{{ else }}docs/runbooks/{{ end }}';
    const base = OF_NO_HOST.includes(alert) ? any : 'http://{{ $labels.instance }}/runbooks/';
    const runbook = SHARED_RUNBOOK[alert] ?? alert;
    assert.equal(annotations.runbook_url, `${base}${runbook}.md`, alert);
    const page = readFileSync(join(RUNBOOKS, `${runbook}.md`), 'utf8');
    if (runbook !== alert) {
      assert.ok(page.includes(`\`${alert}\``), `${runbook}.md does not name ${alert}`);
      const pointer = readFileSync(join(RUNBOOKS, `${alert}.md`), 'utf8');
      assert.ok(pointer.includes(`(${runbook}.md)`), `${alert}.md does not lead to ${runbook}.md`);
    }
    const headings = [...page.matchAll(/^(#+ .*)$/gm)]
      .map(([, heading]) => heading)
      .filter((text) => !/^# [a-z]/.test(text ?? ''));
    assert.deepEqual(
      headings,
      [`# ${runbook}`, '## Meaning', '## Impact', '## Diagnosis', '## Fix', '## Verification'],
      alert,
    );
    assert.match(page, /```(sh|promql)\n/, alert);
  }
  assert.deepEqual(readdirSync(RUNBOOKS).sort(), alerts.map(({ alert }) => `${alert}.md`).sort());
});

test('queries of runbooks parse and name existing metrics and labels', () => {
  const known = catalogue();
  let queries = 0;
  for (const page of readdirSync(RUNBOOKS)) {
    for (const [, block = ''] of readFileSync(join(RUNBOOKS, page), 'utf8').matchAll(
      /```promql\n(.*?)```/gs,
    )) {
      for (const line of block.trim().split('\n')) {
        queries += 1;
        for (const { metric, matched } of readQuery(line).selectors) {
          if (metric === '') continue;
          const { labels } = known.get(metric) ?? {};
          assert.ok(labels !== undefined, `${page}: ${metric}`);
          for (const label of matched) assert.ok(labels.has(label), `${page}: ${label} of ${metric}`);
        }
      }
    }
  }
  assert.ok(queries > 50);
});

const evaluate = (config: string): Record<string, unknown> =>
  JSON.parse(
    tool('jsonnet', [
      '-e',
      `local mixin = (import '${MIXIN}') + { _config+:: ${config} };
       { dashboards: mixin.grafanaDashboards, alerts: mixin.prometheusAlerts, rules: mixin.prometheusRules }`,
    ]),
  );
const committed = (...files: readonly string[]): RuleFile => ({
  groups: files.flatMap((file) => (parse(readFileSync(join(RULES, file), 'utf8')) as RuleFile).groups),
});

test('the mixin returns the committed dashboards, rules and alerts', () => {
  const { dashboards, alerts, rules } = evaluate('{}');
  assert.deepEqual(rules, committed('recording.yaml'));
  assert.deepEqual(alerts, committed('alerts-tracer.yaml', 'alerts-sharing.yaml'));
  const expected = [...readDashboards().values()].map(
    (dashboard) => [`${dashboard.uid}.json`, dashboard] as const,
  );
  assert.deepEqual(dashboards, Object.fromEntries(expected));
});

test('the selector, runbooks and tags of the mixin are applied everywhere', () => {
  const config = {
    selector: 'job="dmabuf"',
    runbookBase: 'https://runbooks.example/',
    dashboardTags: ['lab'],
  };
  const text = JSON.stringify(evaluate(JSON.stringify(config)));
  assert.ok(!/docs\/runbooks|instance[^"]+\/runbooks\//.test(text));
  assert.ok(!text.includes('job=\\"vfio-dmabuf-tracer\\"'));
  assert.equal(text.match(/https:\/\/runbooks\.example\/VfioDmabuf\w+\.md/g)?.length, alerts.length);
  assert.equal(text.match(/"query":"https:\/\/runbooks\.example\/"/g)?.length, 5);
  assert.equal(text.match(/"tags":\["lab"\]/g)?.length, 5);
  assert.ok(existsSync(MIXIN));
});
