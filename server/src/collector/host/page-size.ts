import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { TracerError } from '../../support/errors.ts';

/** AT_PAGESZ of getauxval(3). */
const PAGE_SIZE_TYPE = 6n;
const WORD = 8;

/**
 * Bytes of a page of memory on this host: the kernel passes it to each process in the auxiliary vector, and Node has no call for it.
 *
 * @param auxv pairs of 64-bit words (type, value), as in /proc/self/auxv
 * @throws TracerError where the vector has no page size
 */
export function pageBytes(auxv: Buffer = readFileSync('/proc/self/auxv')): number {
  const word = (at: number): bigint =>
    endianness() === 'LE' ? auxv.readBigUInt64LE(at) : auxv.readBigUInt64BE(at);
  for (let at = 0; at + 2 * WORD <= auxv.length; at += 2 * WORD) {
    if (word(at) === PAGE_SIZE_TYPE) return Number(word(at + WORD));
  }
  throw new TracerError('invariant_broken', 'the kernel has not passed the size of a page to this process', {
    where: '/proc/self/auxv',
  });
}
