import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import { EventOutput, type EventOutputOptions } from '../../src/sinks/event-output.ts';

interface LogLine {
  level: number;
  msg: string;
  remedy?: string;
  not_logged?: number;
}

export function create(t: TestContext, path: string, options: Partial<EventOutputOptions> = {}) {
  const logged: LogLine[] = [];
  const clock = { us: 0, bootUs: () => clock.us, wallMs: () => 1_700_000_000_000, sleep: async () => {} };
  const output = new EventOutput({
    path,
    log: 'run1',
    version: '1.2.3',
    filter: { kinds: [], results: [], devices: [] },
    logger: pino({ level: 'info' }, { write: (line) => logged.push(JSON.parse(line)) }),
    clock,
    stopMs: 60_000,
    ...options,
  });
  t.after(() => output.stop());
  return { output, logged, clock };
}

export interface Line {
  kind: string;
  seq: number;
  from_seq: number;
  to_seq: number;
  count: number;
}

/** All lines of a file. The last one must be whole. */
export function linesOf(path: string): Line[] {
  const text = readFileSync(path, 'utf8');
  assert.ok(text === '' || text.endsWith('\n'), `the last line is whole: ${text.slice(-100)}`);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

/** Asserts that these lines have each event up to the newest once, or its place in a line about dropped events. */
export function assertComplete(lines: readonly Line[], newest: number): void {
  let next = 1;
  for (const line of lines.filter(({ kind }) => kind !== 'start')) {
    const [from, to] = line.kind === 'dropped' ? [line.from_seq, line.to_seq] : [line.seq, line.seq];
    assert.equal(from, next);
    next = to + 1;
  }
  assert.equal(next, newest + 1);
}
