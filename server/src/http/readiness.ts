import type { Status } from '../contract/status.ts';

/** Ready, or one line with the reason why not. */
export type Readiness = { ready: true } | { ready: false; why: string };

export interface ReadinessInput {
  status: Pick<Status, 'state' | 'source' | 'problem'>;
  /** Microseconds since the counters were last read; null before the first read. */
  counterAgeUs: number | null;
  staleAfterS: number;
  /** The recording of a replay was read to its end. */
  replayed: boolean;
  stopping: boolean;
}

/**
 * Ready only while the metrics are current: the kernel's counters are being read, or the recording was read to its end.
 */
export function readinessOf(input: ReadinessInput): Readiness {
  if (input.stopping) return notReady('stopping');
  const { source, state, problem } = input.status;
  if (source.kind === 'replay')
    return input.replayed ? { ready: true } : notReady('the recording is still being read');
  switch (state) {
    case 'waiting':
      return notReady('waiting for the collector');
    case 'starting':
      return notReady('bpftrace is starting');
    case 'blind':
      return notReady(`bpftrace does not run${reasonOf(problem)}; it will be restarted`);
    case 'unavailable':
      return notReady(`this host cannot be traced${reasonOf(problem)}`);
    case 'tracing': {
      if (input.counterAgeUs === null) return notReady('the counters have not been read yet');
      const seconds = input.counterAgeUs / 1e6;
      if (seconds <= input.staleAfterS) return { ready: true };
      return notReady(
        `the counters were last read ${seconds.toFixed(1)} s ago, more than ${input.staleAfterS} s`,
      );
    }
    default:
      return state satisfies never;
  }
}

function notReady(why: string): Readiness {
  return { ready: false, why };
}

/** The problem on one line: a message of bpftrace may have several lines. */
function reasonOf(problem: Status['problem']): string {
  return problem === null ? '' : `: ${problem.message.replaceAll(/\s+/g, ' ').trim()}`;
}
