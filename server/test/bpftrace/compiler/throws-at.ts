import assert from 'node:assert/strict';
import { TracerError } from '../../../src/lib/errors.ts';

/** Asserts that `work` throws an error about this place of a source. */
export function throwsAt(work: () => unknown, where: string, message: RegExp, remedy = /(?:)/): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof TracerError);
    assert.match(error.message, message);
    assert.equal(error.where, where);
    assert.match(error.remedy ?? '', remedy);
    return true;
  });
}
