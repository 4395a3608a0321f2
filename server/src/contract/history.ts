import { type Static, Type } from 'typebox';

export const Quantiles = Type.Object({
  p50: Type.Number(),
  p99: Type.Number({ description: 'in seconds, like p50; for the last bucket, its lower bound' }),
});
const QuantilesOrNull = Type.Union([Quantiles, Type.Null()], {
  description: 'null if there was no call between the two reads',
});

export const HistorySample = Type.Object({
  time: Type.String({ description: 'time of the counter read' }),
  seconds: Type.Number({ description: 'seconds since the previous sample' }),
  rates: Type.Object(
    {
      exports: Type.Number(),
      export_rejections: Type.Number(),
      imports: Type.Number(),
      import_rejections: Type.Number(),
      revocations: Type.Number(),
    },
    { description: 'calls per second over this time; each stage of an import counts as one' },
  ),
  durations: Type.Object({
    export_duration: QuantilesOrNull,
    revocation_duration: QuantilesOrNull,
    import_duration: QuantilesOrNull,
  }),
});
export type HistorySample = Static<typeof HistorySample>;
