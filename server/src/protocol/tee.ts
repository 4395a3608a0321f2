import type { Recorder } from './recorder.ts';
import type { LineSource } from './source.ts';

/**
 * Wraps a source so that every line is also written to the recorder. Starts the recorder before the first line and
 * stops it after the last.
 */
export function tee(source: LineSource, recorder: Recorder): LineSource {
  return {
    kind: source.kind,
    name: source.name,
    run: async (onLine, signal, onDropped) => {
      await recorder.start(signal);
      try {
        await source.run(
          (line) => {
            recorder.write(line.raw);
            onLine(line);
          },
          signal,
          onDropped,
        );
      } finally {
        await recorder.stop();
      }
    },
  };
}
