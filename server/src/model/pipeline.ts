import { type DecodeFailure, decodeLine, droppedLine, type StreamRecord } from '../stream/decode.ts';
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
        this.#take(decodeLine(line));
      },
      signal,
      (why) => this.#take(droppedLine(why)),
    );
  }

  #take(record: StreamRecord | DecodeFailure): void {
    const events = this.#options.model.apply(record);
    if (record.type === 'failure') this.#options.onFailure?.(record);
    for (const event of events) {
      for (const listener of this.#listeners) {
        try {
          listener(event);
        } catch (error) {
          this.#options.onSubscriberError?.(error);
        }
      }
    }
  }
}
