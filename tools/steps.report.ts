// Reports the steps that npm test ran before as tests, so that node's summary counts them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checksOf, type StepResult } from './steps.ts';

const file = process.env.TRACER_TEST_STEPS;
const steps = file === undefined ? [] : (JSON.parse(readFileSync(file, 'utf8')) as StepResult[]);

test('npm test has run its steps', () => assert.ok(steps.length > 0, 'run by npm test only'));

for (const step of steps) {
  const lastLines = step.output.trimEnd().split('\n').slice(-40).join('\n');
  test(`${step.name}: passes (${step.seconds.toFixed(0)} s)`, () =>
    assert.ok(step.ok, `exit ${step.status}\n${lastLines}`));
  for (const { title, ok } of checksOf(step)) test(`${step.name}: ${title}`, () => assert.ok(ok, lastLines));
}
