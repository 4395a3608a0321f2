const BROKEN_BYTES = /(?:\uffffff[0-9a-f]{2})+/g;
const BYTES_PER_ESCAPE = 5;

/**
 * Longest text, in characters, of a field that can become a name or a label. bpftrace truncates its strings at 64 bytes
 * (launch.ts).
 */
export const TEXT_LIMIT = 256;
/** Longest message of the collector, in characters. */
export const MESSAGE_LIMIT = 4096;

const LONE_SURROGATE = /\p{Surrogate}/gu;

/**
 * Replaces lone surrogates: JSON can escape them, but UTF-8 cannot encode them. Otherwise two labels that differ only
 * in them would be served as the same label, and Prometheus rejects a scrape that contains a series twice.
 */
export function wellFormed(text: string): string {
  return text.replace(LONE_SURROGATE, '\ufffd');
}

/** Truncates text to `limit` characters; the last one is then `…`. */
export function boundText(text: string, limit: number): string {
  return text.length <= limit ? text : wellFormed(`${text.slice(0, limit - 1)}…`);
}

/**
 * Repairs text of bpftrace. Every version prints a byte above 0x7f as `\uffffffXX` (its escaper shifts a signed char),
 * which JSON parses as U+FFFF and four letters. Bytes that are not UTF-8 become U+FFFD.
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
