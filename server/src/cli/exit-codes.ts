import { TracerError } from '../support/errors.ts';

/** What the program's exit code says; --help prints this list. */
export const EXIT = { ok: 0, failure: 1, usage: 2, untraceable: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_HELP: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, 'it did what it was asked, or was stopped by SIGINT or SIGTERM'],
  [
    EXIT.failure,
    'it failed: a file, an address, a broken recording, a defect; or `doctor` found something missing',
  ],
  [EXIT.usage, 'the command line or the configuration is wrong'],
  [EXIT.untraceable, 'this host cannot be traced, and --strict was given'],
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
