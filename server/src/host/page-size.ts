import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { TracerError } from '../lib/errors.ts';

/** AT_PAGESZ of getauxval(3). */
const PAGE_SIZE_TYPE = 6n;
const WORD = 8;

/**
 * The page size of this host, in bytes. The kernel passes it to each process in the auxiliary vector; Node has no API
 * for it.
 *
 * @param auxv pairs of 64-bit words (type, value), as in /proc/self/auxv
 * @throws TracerError if the vector has no page size
 */
export function pageBytes(auxv: Buffer = readFileSync('/proc/self/auxv')): number {
  const word = (at: number): bigint =>
    endianness() === 'LE' ? auxv.readBigUInt64LE(at) : auxv.readBigUInt64BE(at);
  for (let at = 0; at + 2 * WORD <= auxv.length; at += 2 * WORD) {
    if (word(at) === PAGE_SIZE_TYPE) return Number(word(at + WORD));
  }
  throw new TracerError(
    'invariant_broken',
    'the auxiliary vector of this process has no page size (AT_PAGESZ)',
    {
      where: '/proc/self/auxv',
    },
  );
}
