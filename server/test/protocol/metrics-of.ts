import { Catalogue } from '../../src/metrics/catalogue.ts';
import { renderMetrics } from '../../src/metrics/exposition.ts';
import type { LineSource } from '../../src/protocol/source.ts';
import { Pipeline } from '../../src/tracer/pipeline.ts';
import { TracerModel } from '../../src/tracer/tracer.ts';

/** The metrics after a source has ended. They do not depend on the name and kind of the source. */
export async function metricsOf(source: LineSource): Promise<string> {
  const model = new TracerModel({
    version: '1.2.3',
    source: { kind: 'replay', name: 'test' },
    seriesLimit: 100,
  });
  await new Pipeline({ source, model }).run(new AbortController().signal);
  return renderMetrics(new Catalogue({ model, processMetrics: false }), 'text');
}
