import { TracerError } from '../lib/errors.ts';

/** Exit codes of the program. --help prints the list below; the help of a command prints those that apply to it. */
export const EXIT = { ok: 0, failure: 1, usage: 2, untraceable: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_HELP: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, 'success, or stopped by SIGINT or SIGTERM'],
  [EXIT.failure, 'failure: a file, an address, a broken recording or a defect'],
  [EXIT.usage, 'the command line or the configuration is wrong'],
  [EXIT.untraceable, 'the host cannot be traced, and --strict was given'],
];

export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof TracerError)) return EXIT.failure;
  switch (error.code) {
    case 'bad_usage':
    case 'bad_config':
      return EXIT.usage;
    case 'host_untraceable':
      return EXIT.untraceable;
    default:
      return EXIT.failure;
  }
}
