const BROKEN_BYTES = /(?:\uffffff[0-9a-f]{2})+/g;
const BYTES_PER_ESCAPE = 5;

/**
 * Mends text of bpftrace: every version prints a byte above 0x7f as `\uffffffXX` (its escaper shifts a signed char),
 * which JSON reads as U+FFFF and four letters. Bytes that are no UTF-8 become U+FFFD.
 */
export function repairText(text: string): string {
  if (!text.includes('\uffff')) return text;
  return text.replace(BROKEN_BYTES, (run) => {
    const bytes = Buffer.alloc(run.length / BYTES_PER_ESCAPE);
    for (let index = 0; index < bytes.length; index += 1) {
      const start = index * BYTES_PER_ESCAPE + 3;
      bytes[index] = Number.parseInt(run.slice(start, start + 2), 16);
    }
    return bytes.toString('utf8');
  });
}
