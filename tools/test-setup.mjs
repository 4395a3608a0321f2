// Loaded before every test file. Node 20 reads a failing assert.ok without a message back from its source, at the position in
// the code that tsx made of it, all of which is one line: it then parses the file from hundreds of places, which takes up to
// a minute of CPU. A test that polls fails an assertion on purpose. Newer Node versions do not search like this.
import assert from 'node:assert/strict';

const [major] = process.versions.node.split('.').map(Number);

function ok(...args) {
  const [actual, message] = args;
  if (actual) return;
  if (message instanceof Error) throw message;
  throw new assert.AssertionError({
    message: message ?? `The expression evaluated to a falsy value: ${String(actual)}`,
    actual,
    expected: true,
    operator: '==',
    stackStartFn: ok,
  });
}
if (major < 24) assert.ok = ok;
