import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decidingMap, writtenMaps } from '../../../src/bpftrace/compiler/maps.ts';

test('a map is written by each kind of assignment, and by nothing else', () => {
  const writes = ['@a = 1;', '@b[1, $x] = count();', '@c[(uint64)curtask]=1;', '@d += 1;', '@e[0]++;'];
  assert.deepEqual([...writtenMaps(writes.join('\n'))], ['@a', '@b', '@c', '@d', '@e']);
  const reads = ['if (@a == 1) {', '@b[1] != 0', '@c[1] <= 2', 'delete(@d[1]);', '$x = @e[1];', 'print(@f);'];
  assert.deepEqual([...writtenMaps(reads.join('\n'))], []);
});

test('a map decides about a line that is one if without else', () => {
  assert.equal(decidingMap('  if (@a[$task]) { @b[$task] = 1; return; }'), '@a');
  assert.equal(decidingMap('if (@a[(uint64)curtask]) { return; } // why'), '@a');
  for (const line of [
    'if (@a[1] == 0) { return; }',
    'if ($x != 0 && @a[1]) { return; }',
    'if (@a[1]) { $x = 1; } else { $x = 2; }',
    'if (@a[1]) { if ($x) { return; } }',
    'if (@a[1]) {',
    '} else { if (@a[1]) { return; } }',
  ]) {
    assert.equal(decidingMap(line), undefined, line);
  }
});
