import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type MetricFamily, negotiate, renderFamilies } from '../../src/metrics/exposition.ts';
import { parseExposition } from '../fixtures/parse-exposition.ts';

function counter(values: MetricFamily['values'], help = 'Help.'): MetricFamily {
  return {
    name: 'things_total',
    help,
    type: 'counter',
    values,
  };
}

test('text 0.0.4 uses the same name for a counter and its samples', () => {
  assert.equal(
    renderFamilies([counter([{ labels: { a: 'x' }, value: 1 }])], 'text'),
    '# HELP things_total Help.\n# TYPE things_total counter\nthings_total{a="x"} 1\n',
  );
});

test('OpenMetrics names a counter without _total and its samples with it, and ends with EOF', () => {
  assert.equal(
    renderFamilies([counter([{ labels: { a: 'x' }, value: 1 }])], 'openmetrics'),
    '# HELP things Help.\n# TYPE things counter\nthings_total{a="x"} 1\n# EOF\n',
  );
});

test('an OpenMetrics scrape does not change a later text scrape', () => {
  const families = [counter([{ labels: {}, value: 1 }])];
  const text = renderFamilies(families, 'text');
  renderFamilies(families, 'openmetrics');
  assert.equal(renderFamilies(families, 'text'), text);
});

test('HELP escapes quotes only in OpenMetrics', () => {
  const family = counter([{ labels: {}, value: 1 }], 'a "b" \\ c\nd');
  assert.match(renderFamilies([family], 'text'), /^# HELP things_total a "b" \\\\ c\\nd\n/);
  assert.match(renderFamilies([family], 'openmetrics'), /^# HELP things a \\"b\\" \\\\ c\\nd\n/);
});

test('a family without series is left out', () => {
  assert.equal(renderFamilies([counter([])], 'text'), '');
  assert.equal(renderFamilies([counter([])], 'openmetrics'), '# EOF\n');
});

test('infinities and NaN are written as +Inf, -Inf and NaN', () => {
  const values = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN].map((value, index) => ({
    labels: { i: String(index) },
    value,
  }));
  assert.match(renderFamilies([counter(values)], 'text'), / \+Inf\n.* -Inf\n.* NaN\n/);
});

test('series are sorted by their labels, and the buckets of a histogram stay in order', () => {
  const bucket = (importer: string, le: string, value: number) => ({
    metricName: 'd_bucket',
    labels: { importer, le },
    value,
  });
  const family: MetricFamily = {
    name: 'd',
    help: 'Help.',
    type: 'histogram',
    values: [
      bucket('b', '2', 1),
      bucket('b', '10', 1),
      bucket('b', '+Inf', 1),
      { metricName: 'd_sum', labels: { importer: 'b' }, value: 3 },
      { metricName: 'd_count', labels: { importer: 'b' }, value: 1 },
      bucket('a', '2', 0),
    ],
  };
  assert.deepEqual(renderFamilies([family], 'openmetrics').split('\n').slice(2, -2), [
    'd_bucket{importer="a",le="2.0"} 0',
    'd_bucket{importer="b",le="2.0"} 1',
    'd_bucket{importer="b",le="10.0"} 1',
    'd_bucket{importer="b",le="+Inf"} 1',
    'd_sum{importer="b"} 3',
    'd_count{importer="b"} 1',
  ]);
});

test('a parser reads back any label value and HELP', () => {
  const text = fc.string({ unit: 'binary' });
  fc.assert(
    fc.property(
      fc.uniqueArray(text, { minLength: 1 }),
      text,
      fc.double(),
      fc.constantFrom('text', 'openmetrics'),
      (labels, help, value, format) => {
        const family = counter(
          labels.map((a) => ({ labels: { a, b: 'fixed' }, value })),
          help,
        );
        const parsed = parseExposition(renderFamilies([family], format), format);
        assert.equal(parsed.length, 1);
        assert.equal(parsed[0]?.help, help);
        const byLabel = new Map(parsed[0]?.samples.map((sample) => [sample.labels.a, sample.value]));
        assert.equal(byLabel.size, labels.length);
        for (const a of labels) assert.deepEqual(byLabel.get(a), Object.is(value, -0) ? 0 : value);
      },
    ),
  );
});

test('the order of the series does not depend on the order in which they were created', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 2 }), (labels) => {
      const values = labels.map((a) => ({ labels: { a }, value: 1 }));
      assert.equal(
        renderFamilies([counter(values)], 'text'),
        renderFamilies([counter([...values].reverse())], 'text'),
      );
    }),
  );
});

const accepts: [string | undefined, 'text' | 'openmetrics'][] = [
  [undefined, 'text'],
  ['', 'text'],
  ['*/*', 'text'],
  ['text/html', 'text'],
  ['text/plain', 'text'],
  ['application/openmetrics-text', 'openmetrics'],
  ['application/openmetrics-text; version=1.0.0; charset=utf-8', 'openmetrics'],
  ['application/openmetrics-text;version="1.0.0"', 'openmetrics'],
  ['application/openmetrics-text;version=0.0.1', 'text'],
  ['application/openmetrics-text;q=0.4,text/plain;version=0.0.4;q=0.5', 'text'],
  ['text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.75', 'openmetrics'],
  ['application/openmetrics-text;q=0,*/*;q=0.1', 'text'],
  ['application/openmetrics-text;q=0', 'text'],
  ['application/openmetrics-text;q=5,text/plain;q=0.1', 'text'],
  ['application/openmetrics-text;q=much,text/plain;q=0.1', 'text'],
  ['APPLICATION/OpenMetrics-Text', 'openmetrics'],
  [
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;' +
      'q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
    'openmetrics',
  ],
  ['application/vnd.google.protobuf;q=1,text/plain;version=0.0.4;q=0.2', 'text'],
];
for (const [accept, format] of accepts) {
  test(`Accept: ${accept} selects ${format}`, () => assert.equal(negotiate(accept), format));
}
