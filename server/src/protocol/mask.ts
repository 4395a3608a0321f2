/**
 * A run of 16 to 20 hexadecimal digits, with an optional `0x`: it may contain a 64-bit address. Longer runs are hashes
 * and ids.
 */
const HEX_RUN = /(?:0x)?(?<![0-9a-f])[0-9a-f]{16,20}(?![0-9a-f])/gi;
const ADDRESS_DIGITS = 16;

/** Replaces a kernel address in text that is logged, recorded or served. */
const MASKED_ADDRESS = '[address]';

/**
 * Masks kernel addresses in text of bpftrace: with `0x`, without it, or after a word as in `kfunc_ffffffff81234567`.
 * Kernel addresses begin with `ff`. A number with `0x` is masked if it is in the upper half of the 64-bit range.
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
