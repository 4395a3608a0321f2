/** Expressions that give nothing in the test, rightly, and why; the test asserts that they are empty. */
export const EMPTY: Readonly<Record<string, string>> = {
  'host.json: Source and picture: C': 'the host shown simulates nothing',
  'host.json: annotation Blind times': 'the host shown is traced all the time',
  'alerts-tracer.yaml: VfioDmabufTracerAbsent': 'there are targets',
  'alerts-sharing.yaml: VfioDmabufRejectionsOnManyHosts':
    'no importer is rejected for the same reason on three hosts of a cluster',
};

/** Expressions that give something or nothing, by how long the test has taken, and why; they must be answered. */
export const EITHER: Readonly<Record<string, string>> = {
  'alerts-tracer.yaml: VfioDmabufBlindTime':
    'one host cannot be traced: after a minute or so it has been blind for long enough',
  'alerts-tracer.yaml: VfioDmabufProbeBlindTime':
    'a probe of the host in trouble is blind for half of the time: after two minutes or so that was long enough',
};
