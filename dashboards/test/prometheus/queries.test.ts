import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ensurePackages } from '../../../lab/src/host-packages.ts';
import { grownBy, grownEach, notTraced, targets } from '../../src/queries.ts';
import { substituted } from '../dashboards.ts';

const folder = mkdtempSync(join(tmpdir(), 'vfio-dmabuf-tracer-queries-'));
before(() => ensurePackages(['prometheus'], console.log));
after(() => rmSync(folder, { recursive: true }));

interface Case {
  /** Samples every 15 s from 0 on, in promtool's notation. */
  series: Record<string, string>;
  expr: string;
  at: string;
  expected: Record<string, number>;
}

/** Evaluates a query on given samples with promtool; the expected series are named by their labels. */
function assertAnswer({ series, expr, at, expected }: Case): void {
  const unit = {
    tests: [
      {
        interval: '15s',
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        promql_expr_test: [
          {
            expr: substituted(expr, {}),
            eval_time: at,
            exp_samples: Object.entries(expected).map(([labels, value]) => ({ labels, value })),
          },
        ],
      },
    ],
  };
  const file = join(folder, 'test.json');
  writeFileSync(file, JSON.stringify(unit));
  const run = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' });
  assert.equal(run.status, 0, `${run.error?.message ?? ''}${run.stdout}${run.stderr}`);
}

test('bars add up to the total: with failed or rare scrapes, at the start of a counter, and after a reset', () => {
  assertAnswer({
    series: {
      'x_total{host="steady"}': '5+0x21 6+0x7 7+0x60',
      'x_total{host="scrapes fail"}': '5+0x21 6+0x4 stale _x5 7+0x60',
      'x_total{host="a scrape a minute"}': `5 _x3 ${'5 _x3 '.repeat(5)}6 _x3 ${'7 _x3 '.repeat(12)}`,
      'x_total{host="begins"}': '_x26 1+0x60',
      'x_total{host="restarts"}': '100+0x30 3+0x60',
      'x_total{host="rests"}': '5+0x90',
    },
    expr: `sum_over_time((sum by (host) (${grownEach('x_total', '')}))[10m:1m])`,
    at: '15m',
    expected: {
      '{host="steady"}': 2,
      '{host="scrapes fail"}': 2,
      '{host="a scrape a minute"}': 2,
      '{host="begins"}': 1,
      '{host="restarts"}': 3,
      '{host="rests"}': 0,
    },
  });
});

test('a new counter counts with its full value, also after a restart, but not again after failed scrapes', () => {
  // Scrapes every 15 s: the window of ten minutes begins at sample 20 and ends at sample 60.
  const answers = { always: '1x60', gap: '1x9 stale _x19 1x30' };
  const hosts: Record<string, [keyof typeof answers, string]> = {
    begins: ['always', '_x40 3x20'],
    restarts: ['always', '5x9 stale _x29 5x20'],
    'scrapes fail': ['gap', '5x9 stale _x19 5x30'],
    'away, restarts': ['gap', '5x9 stale _x19 2x30'],
    rests: ['always', '5x60'],
  };
  const series = Object.entries(hosts).flatMap(([instance, [answered, values]]) => [
    [`vfio_dmabuf_build_info{instance="${instance}"}`, answers[answered]],
    [`x_total{instance="${instance}"}`, values],
  ]);
  assertAnswer({
    series: Object.fromEntries(series),
    expr: grownBy('instance', 'x_total', '', '10m'),
    at: '15m',
    expected: {
      '{instance="begins"}': 3,
      '{instance="restarts"}': 5,
      '{instance="scrapes fail"}': 0,
      '{instance="away, restarts"}': 2,
      '{instance="rests"}': 0,
    },
  });
});

const HOSTS = {
  // A separate job, in which one host never came up.
  'up{cluster="north",job="tracer",instance="a"}': '1x40',
  'vfio_dmabuf_build_info{cluster="north",job="tracer",instance="a"}': '1x40',
  'vfio_dmabuf_up{cluster="north",job="tracer",instance="a"}': '1x40',
  'up{cluster="north",job="tracer",instance="never"}': '0x40',
  // A job that other exporters share: a host that no longer answers, another exporter, and a target that never answered.
  'up{job="pods",instance="b"}': '1x40',
  'vfio_dmabuf_build_info{job="pods",instance="b"}': '1x40',
  'vfio_dmabuf_up{job="pods",instance="b"}': '1x40',
  'up{job="pods",instance="gone"}': '1x9 0x30',
  'vfio_dmabuf_build_info{job="pods",instance="gone"}': '1x9 stale',
  'vfio_dmabuf_up{job="pods",instance="gone"}': '1x9 stale',
  'up{job="pods",instance="other"}': '1x40',
  'up{job="pods",instance="down"}': '0x40',
  // The same address in another cluster is a different host.
  'up{cluster="south",job="pods",instance="b"}': '1x40',
};

test('known hosts: those that serve or served the tracer, and those that never came up if no other exporter is in their job', () => {
  assertAnswer({
    series: HOSTS,
    expr: `sum by (job, instance) (${targets('')})`,
    at: '10m',
    expected: {
      '{job="tracer",instance="a"}': 1,
      '{job="tracer",instance="never"}': 0,
      '{job="pods",instance="b"}': 1,
      '{job="pods",instance="gone"}': 0,
    },
  });
});

test('hosts that no longer answer or never came up count as not traced', () => {
  assertAnswer({ series: HOSTS, expr: notTraced(''), at: '10m', expected: { '{}': 2 } });
});
