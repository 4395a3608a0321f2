/** Expressions that must be empty in the test, with the reason. */
export const EMPTY: Readonly<Record<string, string>> = {
  'host.json: Source and picture: C': 'the host that is shown simulates no fault',
  'host.json: annotation Blind times': 'the host that is shown is never blind',
  'alerts-tracer.yaml: VfioDmabufTracerAbsent': 'there are targets',
  'alerts-sharing.yaml: VfioDmabufRejectionsOnManyHosts':
    'no importer is rejected for the same reason on three hosts of a cluster',
};

/** Expressions that may be empty or not, depending on the duration of the test, with the reason. They must not fail. */
export const EITHER: Readonly<Record<string, string>> = {
  'alerts-tracer.yaml: VfioDmabufBlindTime':
    'one host cannot be traced, and after about a minute its blind time exceeds the threshold',
  'alerts-tracer.yaml: VfioDmabufProbeBlindTime':
    'a probe of the troubled host is blind half of the time, and after about two minutes that exceeds the threshold',
};
