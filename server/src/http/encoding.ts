/** Whether an Accept-Encoding header names this coding without q=0. */
export function asksFor(wanted: 'gzip' | 'br', header: string | string[] | undefined): boolean {
  return String(header ?? '')
    .split(',')
    .some((part) => {
      const [coding, ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
      const q = parameters.find((parameter) => parameter.startsWith('q='));
      return coding === wanted && (q === undefined || Number(q.slice(2)) > 0);
    });
}
