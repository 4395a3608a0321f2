import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const MODULE = new URL('../../src/lib/stop-limit.ts', import.meta.url).href;

function run(code: string): { signal: NodeJS.Signals | null; status: number | null; stdout: string } {
  const script = `import { killAfter } from ${JSON.stringify(MODULE)};\n${code}`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
  const { signal, status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
  return { signal, status, stdout };
}

test('a process whose event loop is busy for ever is killed at its deadline', () => {
  const { signal, stdout } = run("killAfter(200);\nconsole.log('busy');\nfor (;;);");
  assert.deepEqual([signal, stdout], ['SIGKILL', 'busy\n']);
});

test('a cancelled deadline does not kill the process, and a pending one does not delay its end', () => {
  const later = "const cancel = killAfter(200);\ncancel();\nsetTimeout(() => console.log('alive'), 1000);";
  assert.deepEqual(run(later), { signal: null, status: 0, stdout: 'alive\n' });
  assert.deepEqual(run('killAfter(3_600_000);'), { signal: null, status: 0, stdout: '' });
});
