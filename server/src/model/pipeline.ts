import type { DecodeFailure } from '../stream/decode.ts';
import type { LineSource } from '../stream/source.ts';
import type { TracerModel } from './model.ts';
import type { TracerEvent } from './schema.ts';

export interface PipelineOptions {
  source: LineSource;
  model: TracerModel;
  /** Gets every line before it is decoded: a Recorder, or nothing. */
  tee?: { write(line: string): void };
  /** Told of each line that could not be decoded; the model has counted it already. */
  onFailure?: (failure: DecodeFailure) => void;
  /** Told of what a subscriber threw; the others still get the event. */
  onSubscriberError?: (error: unknown) => void;
}

export type EventListener = (event: TracerEvent) => void;

/** Lines in, events out: source -> decode -> model -> subscribers. */
export class Pipeline {
  constructor(_options: PipelineOptions) {}

  /** Calls `listener` with each new event, after the model has taken it in. Returns the way to unsubscribe. */
  subscribe(_listener: EventListener): () => void {
    return () => {};
  }

  /** Runs until the source ends or the signal aborts; rejects with the source's TracerError. */
  async run(_signal: AbortSignal): Promise<void> {}
}
