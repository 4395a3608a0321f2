import type { Recorder } from './recorder.ts';
import type { LineSource } from './source.ts';

/** The source with every line also written to the recorder, which is started before the first and stopped after the last. */
export const tee = (source: LineSource, recorder: Recorder): LineSource => ({
  kind: source.kind,
  name: source.name,
  run: async (onLine, signal, onDropped) => {
    await recorder.start(signal);
    try {
      await source.run(
        (line) => {
          recorder.write(line);
          onLine(line);
        },
        signal,
        onDropped,
      );
    } finally {
      await recorder.stop();
    }
  },
});
