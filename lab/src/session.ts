/** Result of one step of a workload session. */
export interface Step {
  verb: string;
  ret: number;
  errno: number;
  inode: number;
}

/** The command that runs a workload session of these steps. */
export function sessionOf(steps: readonly string[]): string {
  return `/lab/bin/session ${steps.map((step) => `'${step}'`).join(' ')}`;
}

export function parseSteps(lines: readonly string[]): Step[] {
  return lines.flatMap((line) => {
    const fields = Object.fromEntries(line.split(' ').map((pair) => pair.split('=')));
    if (fields.verb === undefined) return [];
    return [
      {
        verb: fields.verb,
        ret: Number(fields.ret),
        errno: Number(fields.errno),
        inode: Number(fields.inode ?? 0),
      },
    ];
  });
}

export interface RunningSession {
  pid: number;
  /** Resolves with the steps when the session has ended. */
  finish(): Promise<Step[]>;
}

/** Starts a workload session in the background. `run` runs a script in the guest and resolves with its output. */
export async function startSession(
  run: (script: string) => Promise<string>,
  name: string,
  command: string,
): Promise<RunningSession> {
  const file = `/tmp/session-${name}`;
  const started = await run(
    `rm -f ${file}.*
     (sh -c 'echo $$ >${file}.pid; exec "$@"' sh ${command} >${file}.out 2>&1; echo $? >${file}.status) &
     until [ -s ${file}.pid ]; do sleep 0.05; done; cat ${file}.pid`,
  );
  return {
    pid: Number(started.trim()),
    finish: async () => {
      const output = await run(
        `n=0; while [ ! -e ${file}.status ]; do sleep 0.2; n=$((n + 1)); [ $n -lt 500 ] || exit 9; done; cat ${file}.out`,
      );
      return parseSteps(output.split('\n'));
    },
  };
}
