import type { TracerEvent } from '../contract/events.ts';
import { type DecodeFailure, failure, type StreamRecord } from '../protocol/decode.ts';
import type { LineSource } from '../protocol/source.ts';
import type { TracerModel } from './tracer.ts';

export interface PipelineOptions {
  source: LineSource;
  model: TracerModel;
  /** Called for each bad line, after the model has counted it. `error` is set if the model threw, which is a bug. */
  onFailure?: (failure: DecodeFailure, error?: unknown) => void;
  /** Called with what a subscriber threw. The other subscribers still get the event. */
  onSubscriberError?: (error: unknown) => void;
}

export type EventListener = (event: TracerEvent) => void;

/** Turns lines into events: source -> model -> subscribers. */
export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #listeners = new Set<EventListener>();

  constructor(options: PipelineOptions) {
    this.#options = options;
  }

  /** Calls `listener` with each new event, after the model has applied it. Returns a function that unsubscribes. */
  subscribe(listener: EventListener): () => void {
    // A wrapper per subscription: the Set would merge two subscriptions of the same function.
    const own: EventListener = (event) => listener(event);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Runs until the source ends or the signal aborts; rejects with the source's TracerError. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#options.source.run(
      ({ raw, record }) => this.#apply(record, raw),
      signal,
      (why) => this.#apply(failure(why)),
    );
  }

  /** Applies one record. If the model throws, the line is counted as bad, and processing continues. */
  #apply(record: StreamRecord | DecodeFailure, raw = ''): void {
    const { model, onFailure, onSubscriberError } = this.#options;
    let events: TracerEvent[];
    try {
      events = model.apply(record);
    } catch (error) {
      const bad = failure('not_a_record', raw);
      events = model.apply(bad);
      onFailure?.(bad, error);
    }
    if (record.type === 'failure') onFailure?.(record);
    for (const event of events) {
      for (const listener of this.#listeners) {
        try {
          listener(event);
        } catch (error) {
          onSubscriberError?.(error);
        }
      }
    }
  }
}
