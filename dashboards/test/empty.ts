/** Expressions that return nothing in the test, and why. The test asserts that they are empty. */
export const EMPTY: Readonly<Record<string, string>> = {
  'host.json: Source and buffer state: C': 'the shown host simulates nothing',
  'host.json: annotation Blind times': 'the shown host is traced all the time',
  'alerts-tracer.yaml: VfioDmabufTracerAbsent': 'targets exist',
  'alerts-sharing.yaml: VfioDmabufRejectionsOnManyHosts':
    'no importer is rejected for the same reason on three hosts of a cluster',
};

/** Expressions that return data or nothing, depending on the duration of the test, and why. They must be answered. */
export const EITHER: Readonly<Record<string, string>> = {
  'alerts-tracer.yaml: VfioDmabufBlindTime':
    'one host cannot be traced: after about a minute it has been blind for long enough',
  'alerts-tracer.yaml: VfioDmabufProbeBlindTime':
    'a probe of the host in trouble is blind half of the time: after about two minutes that is long enough',
};
