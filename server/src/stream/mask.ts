/** A run of hexadecimal digits that is long enough for a 64-bit address, with its prefix. Longer runs are hashes and ids. */
const HEX_RUN = /(?:0x)?(?<![0-9a-f])[0-9a-f]{16,20}(?![0-9a-f])/gi;
const ADDRESS_DIGITS = 16;

/** What stands for a kernel address in text that is logged, recorded or served. */
export const MASKED_ADDRESS = '[address]';

/**
 * Masks kernel addresses in text of bpftrace, with `0x`, bare, or glued to a word as in `kfunc_ffffffff81234567`. They are in the
 * upper half of 64 bits, where all of them begin with `ff`; with `0x` each number of that half is masked.
 */
export function maskAddresses(text: string): string {
  return text.replace(HEX_RUN, (run) => {
    const hasPrefix = /^0x/i.test(run);
    const digits = hasPrefix ? run.slice(2) : run;
    const address = digits.slice(-ADDRESS_DIGITS);
    const isAddress = hasPrefix ? /^[89a-f]/i.test(address) : /^ff/i.test(address);
    return isAddress ? `${digits.slice(0, -ADDRESS_DIGITS)}${MASKED_ADDRESS}` : run;
  });
}
