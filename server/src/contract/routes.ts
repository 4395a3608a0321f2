import type { Route } from '../protocol/codes.ts';

/** How page and terminal name the route of a mapping; empty if it is unknown. */
export const ROUTE_TEXT: Readonly<Record<Route, string>> = {
  unknown: '',
  bus: 'by bus address',
  host_bridge: 'through the host bridge',
  iommu: 'through the IOMMU',
};

/** What each route means for the speed of peer-to-peer requests. */
export const ROUTE_SENTENCE: Readonly<Record<Route, string>> = {
  unknown: 'Route unknown: the probe map_route was not attached, or the importing device hides it.',
  bus: 'By bus address: requests stay within one device or PCIe switch, which is the fastest route.',
  host_bridge:
    'Through the host bridge: each request goes up to the root complex and down again, which is slower than a switch.',
  iommu: 'Through the IOMMU: each request goes through the root complex, and the IOMMU translates it there.',
};
