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

/** The used part of `process` for SIGHUP. */
export interface HangupHost {
  on(signal: 'SIGHUP', listener: () => void): unknown;
  off(signal: 'SIGHUP', listener: () => void): unknown;
}

/** Calls the listener at each SIGHUP, which then no longer ends the process. Returns a function that undoes it. */
export function onHangup(host: HangupHost, listener: () => void): () => void {
  host.on('SIGHUP', listener);
  return () => void host.off('SIGHUP', listener);
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
