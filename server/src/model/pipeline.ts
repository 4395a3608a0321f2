import { type DecodeFailure, decodeLine, droppedLine, failure, type StreamRecord } from '../stream/decode.ts';
import type { LineSource } from '../stream/source.ts';
import type { TracerModel } from './model.ts';
import type { TracerEvent } from './schema.ts';

export interface PipelineOptions {
  source: LineSource;
  model: TracerModel;
  /** Gets every line before it is decoded: a Recorder, or nothing. */
  tee?: { write(line: string): void };
  /** Called with each line that is bad; the model has counted it already. `error` is what the model threw, where it was a defect of ours. */
  onFailure?: (failure: DecodeFailure, error?: unknown) => void;
  /** Called with what a subscriber threw; the others still get the event. */
  onSubscriberError?: (error: unknown) => void;
}

export type EventListener = (event: TracerEvent) => void;

/** Lines in, events out: source -> decode -> model -> subscribers. */
export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #listeners = new Set<EventListener>();

  constructor(options: PipelineOptions) {
    this.#options = options;
  }

  /** Calls `listener` with each new event, after the model has taken it in. Returns the way to unsubscribe. */
  subscribe(listener: EventListener): () => void {
    // Its own function, so that one listener subscribed twice is two subscriptions.
    const own: EventListener = (event) => listener(event);
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Runs until the source ends or the signal aborts; rejects with the source's TracerError. */
  async run(signal: AbortSignal): Promise<void> {
    const { source, tee } = this.#options;
    await source.run(
      (line) => {
        tee?.write(line);
        this.#take(decodeLine(line), line);
      },
      signal,
      (why) => this.#take(droppedLine(why)),
    );
  }

  /** The worst that a line can do is to be counted as bad. */
  #take(record: StreamRecord | DecodeFailure, line = ''): void {
    const { model, onFailure, onSubscriberError } = this.#options;
    let events: TracerEvent[];
    try {
      events = model.apply(record);
    } catch (error) {
      const bad = failure('not_a_record', line);
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
