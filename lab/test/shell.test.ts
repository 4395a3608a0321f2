import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommandError, run } from '../src/shell.ts';

test('a command gives its output, and each line of it once, also if the line arrives in two parts', async () => {
  const lines: string[] = [];
  const script = 'printf "one\\nt"; sleep 0.2; printf "wo\\n\\n"; printf rest';
  const output = await run('sh', ['-c', script], { onLine: (line) => lines.push(line) });
  assert.equal(output, 'one\ntwo\n\nrest');
  assert.deepEqual(lines, ['one', 'two', 'rest']);
});

test('the error of a failed command has its last lines', async () => {
  await assert.rejects(run('sh', ['-c', 'echo first; echo last >&2; exit 3']), (error) => {
    assert.ok(error instanceof CommandError);
    assert.match(error.message, /exit 3/);
    assert.match(error.message, /^first$/m);
    assert.match(error.message, /^last$/m);
    return true;
  });
});
