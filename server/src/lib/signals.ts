import { constants } from 'node:os';

const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;
type StopSignal = (typeof STOP_SIGNALS)[number];

/** The used part of `process`, so that a test can replace it. */
export interface SignalHost {
  on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  off(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  exit(code: number): unknown;
}

export interface StopRequest {
  /** Aborted by the first SIGINT or SIGTERM; its reason is the signal's name. */
  signal: AbortSignal;
  dispose(): void;
}

/** The first signal requests a graceful stop. The second exits at once with 128 + the number of the signal. */
export function stopOnSignals(host: SignalHost): StopRequest {
  const controller = new AbortController();
  const onSignal = (name: StopSignal): void => {
    if (controller.signal.aborted) {
      host.exit(128 + constants.signals[name]);
      return;
    }
    controller.abort(name);
  };
  for (const name of STOP_SIGNALS) host.on(name, onSignal);
  return {
    signal: controller.signal,
    dispose: () => {
      for (const name of STOP_SIGNALS) host.off(name, onSignal);
    },
  };
}
