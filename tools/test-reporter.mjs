// The report of the tests where standard output is not a terminal: node's TAP, without the tests that passed below the
// top level. The failed tests come again before the summary, because a log is often read from its end.
import { tap } from 'node:test/reporters';
import { inspect } from 'node:util';

/** What TAP prints for a test that has passed. */
const OF_PASSED = new Set(['test:start', 'test:pass', 'test:plan']);

const comment = (message) => ({ type: 'test:diagnostic', data: { nesting: 0, message } });

async function* shortened(events) {
  /** The names of a test and of the suites around it, from the top level. */
  const names = [];
  const failed = [];
  for await (const event of events) {
    const { type, data } = event;
    if (type === 'test:start') {
      names.length = data.nesting;
      names.push(data.name);
    }
    // A suite also fails if one of its tests does: only the test is listed.
    if (type === 'test:fail' && data.details.error.failureType !== 'subtestsFailed') {
      const { error } = data.details;
      const name = [...names.slice(0, data.nesting), data.name].join(' > ');
      failed.push(`failed: ${name}`, ...inspect(error.cause ?? error).split('\n'));
    }
    // The first line of the summary.
    if (type === 'test:diagnostic' && /^tests \d+$/.test(data.message)) yield* failed.map(comment);
    if (data.nesting > 0 && OF_PASSED.has(type)) continue;
    yield event;
  }
}

export default (events) => tap(shortened(events));
