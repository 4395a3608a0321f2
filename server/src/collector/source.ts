// The interface lives with the stream, so that neither the model nor the recordings import the collector.
export type { LineSource } from '../stream/source.ts';
