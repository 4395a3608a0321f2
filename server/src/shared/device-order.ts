/** A key that sorts PCI addresses by their numbers: as text, domain 10001 would come before domain 2000. */
export function deviceOrder(address: string): string {
  const [domain = '', ...rest] = address.split(':');
  return rest.length === 0 ? address : [domain.padStart(8, '0'), ...rest].join(':');
}
