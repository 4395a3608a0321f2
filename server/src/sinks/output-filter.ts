import type { StartLine } from '../contract/event-output.ts';
import { resultOf, type TracerEvent } from '../contract/events.ts';
import { canonicalDevice } from '../lib/device-address.ts';

/**
 * Which events are written. An empty list means all. An event without an errno has no result, so it passes only if
 * `results` is empty. A device is a PCI address as a user may write it.
 */
export type OutputFilter = Pick<StartLine, 'kinds' | 'results' | 'devices'>;

export function outputMatcher({ kinds, results, devices }: OutputFilter): (event: TracerEvent) => boolean {
  const addresses = devices.map(canonicalDevice);
  const passes = <T>(list: readonly T[], value: T | undefined): boolean =>
    list.length === 0 || (value !== undefined && list.includes(value));
  return (event) =>
    passes(kinds, event.kind) && passes(addresses, event.device) && passes(results, resultOf(event));
}
