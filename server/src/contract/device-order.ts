/** Sort key of a PCI address. It pads the domain, because as text domain 10001 sorts before domain 2000. */
export function deviceOrder(address: string): string {
  const [domain = '', ...rest] = address.split(':');
  return rest.length === 0 ? address : [domain.padStart(8, '0'), ...rest].join(':');
}

/** Compares PCI addresses for a sort by their numbers. */
export function byDevice(a: string, b: string): number {
  const [first, second] = [deviceOrder(a), deviceOrder(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}
