// Loaded before every test file. When assert.ok fails without a message, Node 20 searches the source for its
// expression. It uses the position in tsx's output, which is a single line, so it parses the file from hundreds of
// positions and uses up to a minute of CPU. Polling tests fail assertions on purpose, so this replaces assert.ok. Newer
// versions of Node do not search like this.
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
