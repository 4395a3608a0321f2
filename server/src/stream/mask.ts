/** A run of hexadecimal digits that is long enough for a 64-bit address, with its prefix. Longer runs are hashes and ids. */
const HEX_RUN = /(?:0x)?(?<![0-9a-f])[0-9a-f]{16,20}(?![0-9a-f])/gi;
const ADDRESS_DIGITS = 16;

/** What stands for a kernel address in text that is logged, recorded or served. */
export const MASKED_ADDRESS = '[address]';

/**
 * Masks kernel addresses in text of bpftrace: 64-bit numbers in the upper half, with `0x`, bare, or glued to a word as in
 * `kfunc_ffffffff81234567`. A decimal number of 16 digits that begins with 8 or 9 is masked as well.
 */
export function maskAddresses(text: string): string {
  return text.replace(HEX_RUN, (run) => {
    const digits = run.replace(/^0x/i, '');
    const glued = digits.slice(0, -ADDRESS_DIGITS);
    const address = digits.slice(-ADDRESS_DIGITS);
    // After other digits only what every kernel address begins with is one: the run may be a decimal number.
    const isAddress = glued === '' ? /^[89a-f]/i.test(address) : /^ff/i.test(address);
    return isAddress ? `${glued}${MASKED_ADDRESS}` : run;
  });
}

/** True where `maskAddresses` would change the text. */
export function hasAddress(text: string): boolean {
  return maskAddresses(text) !== text;
}
