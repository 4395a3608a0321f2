/** The tag of all dashboards. */
export const TAG = 'vfio-dmabuf-tracer';

export const UIDS = {
  fleet: 'vfio-dmabuf-fleet',
  host: 'vfio-dmabuf-host',
  privacy: 'vfio-dmabuf-private',
  rejections: 'vfio-dmabuf-rejections',
  tracer: 'vfio-dmabuf-tracer',
} as const;
export const TITLES: Readonly<Record<keyof typeof UIDS, string>> = {
  fleet: 'Fleet',
  host: 'Host',
  privacy: 'Private exports and VMs',
  rejections: 'Importer rejections',
  tracer: 'The tracer itself',
};
export type DashboardName = keyof typeof UIDS;
