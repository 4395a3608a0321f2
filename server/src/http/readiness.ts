import type { Status } from '../model/schema.ts';

/** Ready, or the one line that says why not. */
export type Readiness = { ready: true } | { ready: false; why: string };

export interface ReadinessInput {
  status: Pick<Status, 'state' | 'source' | 'problem'>;
  /** Microseconds since the counters were last read, null where they never were. */
  counterAgeUs: number | null;
  staleAfterS: number;
  /** A replay has been read to its end. */
  replayed: boolean;
  stopping: boolean;
}

/** True only while the numbers are true: the counters of the kernel are being read, or a recording is complete. */
export function readinessOf(input: ReadinessInput): Readiness {
  if (input.stopping) return no('stopping');
  const { source, state, problem } = input.status;
  if (source.kind === 'replay')
    return input.replayed ? { ready: true } : no('the recording is still being read');
  switch (state) {
    case 'waiting':
      return no('waiting for the collector');
    case 'starting':
      return no('bpftrace is starting');
    case 'blind':
      return no(`bpftrace does not run${reasonOf(problem)}; it will be started again`);
    case 'unavailable':
      return no(`this host cannot be traced${reasonOf(problem)}`);
    case 'tracing': {
      if (input.counterAgeUs === null) return no('the counters have not been read yet');
      const seconds = input.counterAgeUs / 1e6;
      if (seconds <= input.staleAfterS) return { ready: true };
      return no(`the counters were last read ${seconds.toFixed(1)} s ago, more than ${input.staleAfterS} s`);
    }
    default:
      return state satisfies never;
  }
}

function no(why: string): Readiness {
  return { ready: false, why };
}

/** One line: a message of bpftrace may have several. */
function reasonOf(problem: Status['problem']): string {
  return problem === null ? '' : `: ${problem.message.replaceAll(/\s+/g, ' ').trim()}`;
}
