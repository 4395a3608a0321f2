/** PCI addresses as a user may write them, or `unknown`. */
export const DEVICE_ADDRESS = '^(([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]|unknown)$';
export const DEVICE_ADDRESS_TEXT = 'a PCI address such as 0000:41:00.0 or 41:00.0, or unknown';

/** The PCI address as the model writes it: in lower case, with a domain of at least four digits. */
export function canonicalDevice(given: string): string {
  const address = given.toLowerCase();
  if (/^[0-9a-f]{2}:/.test(address)) return `0000:${address}`;
  return address.replace(/^0+(?=[0-9a-f]{4,}:)/, '');
}
